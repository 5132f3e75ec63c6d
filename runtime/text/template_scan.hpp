// A Jinja template in one spelling, so that its parts can be searched for whatever quotes, spaces and line breaks its
// author liked. Only for recognising templates; nothing is evaluated.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace brim::text {

// Inside {{ }} and {% %}: no white space outside string literals (`a is not none` becomes `aisnotnone`), literals in
// single quotes with their escapes resolved, message.role and message["role"] as message['role'], likewise content, no
// white space control. Text outside stays as it is; comments are left out.
std::string compact_template(std::string_view source);

// In a compact template: the texts of the literals that contain `part` and stand between `before` and `after`, in
// order.
std::vector<std::string> literals_between(std::string_view compact, std::string_view before, std::string_view part,
                                          std::string_view after);

}  // namespace brim::text
