#include "cli/terminal_picture.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "image/resize.h"
#include "image/sixel.h"

namespace lathe::cli {
namespace {

// Terminals that say their name in TERM or TERM_PROGRAM and draw sixels.
constexpr std::string_view kSixelTerminals[] = {"foot", "mlterm", "contour", "yaft", "sixel", "mintty"};

TerminalGraphics known_graphics(const Environment& environment) {
  const std::string term = environment("TERM"), program = environment("TERM_PROGRAM");
  // Multiplexers swallow what they do not know.
  if (!environment("TMUX").empty() || term.starts_with("screen") || term.starts_with("tmux"))
    return TerminalGraphics::off;
  if (!environment("KITTY_WINDOW_ID").empty() || term.find("kitty") != std::string::npos || program == "ghostty")
    return TerminalGraphics::kitty;
  if (program == "iTerm.app" || program == "WezTerm" || environment("LC_TERMINAL") == "iTerm2")
    return TerminalGraphics::iterm;
  for (const std::string_view name : kSixelTerminals) {
    if (term.find(name) != std::string::npos || program.find(name) != std::string::npos) return TerminalGraphics::sixel;
  }
  return TerminalGraphics::off;
}

image::Image fitted(const image::Image& image, int64_t largest) {
  const int64_t side = std::max(image.width, image.height);
  if (side <= largest) return image;
  return image::resize(image, std::max<int64_t>(1, image.width * largest / side),
                       std::max<int64_t>(1, image.height * largest / side), image::Filter::lanczos);
}

// A PNG in pieces of at most 4096 characters; m=1: more follow.
std::string kitty_sequence(const std::string& png) {
  constexpr size_t kPiece = 4096;
  const std::string data = base64(png);
  std::string out;
  for (size_t at = 0; at < data.size(); at += kPiece) {
    const bool more = at + kPiece < data.size();
    out += fmt::format("\x1b_G{}m={};{}\x1b\\", at == 0 ? "a=T,f=100,q=2," : "", more ? 1 : 0, data.substr(at, kPiece));
  }
  return out;
}

}  // namespace

TerminalGraphics choose_graphics(std::string_view wish, bool is_terminal, const Environment& environment) {
  if (wish == "off") return TerminalGraphics::off;
  if (wish == "kitty") return TerminalGraphics::kitty;
  if (wish == "iterm") return TerminalGraphics::iterm;
  if (wish == "sixel") return TerminalGraphics::sixel;
  if (wish != "auto") fail(ErrorCode::usage, "--show {}: expected auto, kitty, iterm, sixel or off", wish);
  return is_terminal ? known_graphics(environment) : TerminalGraphics::off;
}

TerminalGraphics choose_graphics(std::string_view wish) {
  return choose_graphics(wish, ::isatty(STDOUT_FILENO) != 0, [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value ? value : "");
  });
}

std::string picture_sequence(TerminalGraphics graphics, const image::Image& image, int64_t largest) {
  if (graphics == TerminalGraphics::off) return "";
  const image::Image shown = fitted(image, largest);
  if (graphics == TerminalGraphics::sixel) return image::encode_sixel(shown) + "\n";
  const std::string png = image::encode_png(shown);
  if (graphics == TerminalGraphics::kitty) return kitty_sequence(png) + "\n";
  return fmt::format("\x1b]1337;File=inline=1;size={}:{}\x07\n", png.size(), base64(png));
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t at = 0; at < bytes.size(); at += 3) {
    uint32_t group = 0;
    const size_t count = std::min<size_t>(3, bytes.size() - at);
    for (size_t i = 0; i < 3; ++i) group = group << 8 | (i < count ? uint8_t(bytes[at + i]) : 0u);
    for (size_t i = 0; i < 4; ++i) out += i <= count ? kDigits[group >> (18 - 6 * i) & 63] : '=';
  }
  return out;
}

}  // namespace lathe::cli
