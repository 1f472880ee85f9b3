// Pictures shown in the terminal itself: kitty's graphics protocol, iTerm2's inline images, sixels.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "image/image.h"

namespace lathe::cli {

enum class TerminalGraphics { off, kitty, iterm, sixel };

// What `--show` means here: "auto" is what the terminal is known to understand by its environment, off where standard
// output is none or a multiplexer lies between; other names are taken at their word. Throws usage for unknown ones.
using Environment = std::function<std::string(const char* name)>;  // empty: not set
TerminalGraphics choose_graphics(std::string_view wish, bool is_terminal, const Environment& environment);
// The same of this process.
TerminalGraphics choose_graphics(std::string_view wish);

// The characters that draw the picture, made smaller where it has more than `largest` pixels a side, and an end of
// line; empty for off.
std::string picture_sequence(TerminalGraphics graphics, const image::Image& image, int64_t largest = 768);

std::string base64(std::string_view bytes);

}  // namespace lathe::cli
