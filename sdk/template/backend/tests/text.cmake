# The same text, word for word, as from the CPU backend that comes with Brim: greedy, in strict numerics, where two right
# backends differ by the last bits of logits only.
set(common run ${MODEL} --prompt "It is" -n 24 --temp 0 --numerics strict --ignore-eos --quiet --plugins ${SHIPPED})
execute_process(COMMAND ${BRIM} ${common} OUTPUT_VARIABLE expected COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${BRIM} ${common} --plugins ${OWN} --device "plain processor" OUTPUT_VARIABLE found
                COMMAND_ERROR_IS_FATAL ANY)
if(NOT found STREQUAL expected)
  message(FATAL_ERROR "expected: ${expected}\nfound:    ${found}")
endif()
