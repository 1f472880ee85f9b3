// Cuts a template into text and the tokens between its delimiters.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lathe::text::jinja {

struct Token {
  enum class Kind {
    text,
    output_begin,
    output_end,
    block_begin,
    block_end,
    name,
    string,
    integer,
    number,
    symbol,
    end
  };
  Kind kind;
  std::string text;
  int line = 1;
};

// Applies trim_blocks, lstrip_blocks and the "-" and "+" of delimiters; drops comments and, as Jinja does,
// one newline at the very end. Throws invalid_input.
std::vector<Token> tokenize_template(std::string_view source);

}  // namespace lathe::text::jinja
