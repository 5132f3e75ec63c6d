// The slot of a sequence's state that the step block names; 0 where there is none (or one that the state has not).
uint64_t slot_of(SlotStore s, uint offset, uint sequence) {
  const int slot = step_int(offset, sequence);
  return slot < 0 || uint(slot) >= s.n_slots ? 0 : s.slots + uint64_t(slot) * s.slot_bytes;
}
