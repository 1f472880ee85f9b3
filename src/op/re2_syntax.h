// Regular expressions in RE2's syntax, as RegexFullMatch has them.
#pragma once

#include <string>
#include <string_view>

namespace lathe::op {

// The same language in PCRE2's syntax, without captures and with all repetitions greedy (which text matches as a
// whole depends on neither). Throws invalid_input for what RE2 refuses, unsupported for \C and for nesting beyond
// 100 levels.
std::string translate_re2(std::string_view pattern);

}  // namespace lathe::op
