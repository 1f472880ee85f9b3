// Which terminals are sent pictures, and what they are sent.
#include "cli/terminal_picture.h"

#include <gtest/gtest.h>

#include <map>

#include "base/error.h"

namespace lathe::cli {
namespace {

TerminalGraphics choose(const std::map<std::string, std::string>& variables, bool is_terminal = true,
                        std::string_view wish = "auto") {
  return choose_graphics(wish, is_terminal, [&](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? std::string() : found->second;
  });
}

TEST(TerminalPictures, AreSentToTerminalsThatAreKnown) {
  EXPECT_EQ(choose({{"TERM", "xterm-kitty"}}), TerminalGraphics::kitty);
  EXPECT_EQ(choose({{"TERM", "xterm-256color"}, {"KITTY_WINDOW_ID", "3"}}), TerminalGraphics::kitty);
  EXPECT_EQ(choose({{"TERM", "xterm-ghostty"}, {"TERM_PROGRAM", "ghostty"}}), TerminalGraphics::kitty);
  EXPECT_EQ(choose({{"TERM", "xterm-256color"}, {"TERM_PROGRAM", "iTerm.app"}}), TerminalGraphics::iterm);
  EXPECT_EQ(choose({{"TERM", "xterm-256color"}, {"LC_TERMINAL", "iTerm2"}}), TerminalGraphics::iterm);
  EXPECT_EQ(choose({{"TERM", "foot"}}), TerminalGraphics::sixel);
  EXPECT_EQ(choose({{"TERM", "xterm-256color"}}), TerminalGraphics::off);
  EXPECT_EQ(choose({}), TerminalGraphics::off);
}

TEST(TerminalPictures, AreNotSentElsewhere) {
  EXPECT_EQ(choose({{"TERM", "xterm-kitty"}}, false), TerminalGraphics::off);
  EXPECT_EQ(choose({{"TERM", "screen-256color"}, {"KITTY_WINDOW_ID", "3"}}), TerminalGraphics::off);
  EXPECT_EQ(choose({{"TERM", "xterm-kitty"}, {"TMUX", "/tmp/tmux-0/default,1,0"}}), TerminalGraphics::off);
  EXPECT_EQ(choose({{"TERM", "xterm-kitty"}}, true, "off"), TerminalGraphics::off);
  EXPECT_EQ(choose({}, false, "sixel"), TerminalGraphics::sixel);  // a wish is a wish
  EXPECT_THROW(choose({}, true, "ascii"), Error);
}

// RFC 4648, section 10.
TEST(TerminalPictures, Base64) {
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foo"), "Zm9v");
  EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(base64("\xff\xfe"), "//4=");
}

TEST(TerminalPictures, TheSequences) {
  image::Image image{64, 64, 3, std::vector<uint8_t>(64 * 64 * 3)};
  uint32_t state = 1;
  for (uint8_t& pixel : image.pixels)
    pixel = uint8_t((state = state * 1664525 + 1013904223) >> 24);  // does not compress
  EXPECT_EQ(picture_sequence(TerminalGraphics::off, image), "");
  const std::string png = image::encode_png(image);
  EXPECT_EQ(picture_sequence(TerminalGraphics::iterm, image),
            fmt::format("\x1b]1337;File=inline=1;size={}:{}\x07\n", png.size(), base64(png)));
  // kitty: the pieces together are the file; all but the last say that more follow.
  std::string kitty = picture_sequence(TerminalGraphics::kitty, image), data;
  EXPECT_TRUE(kitty.starts_with("\x1b_Ga=T,f=100,q=2,m=1;"));
  size_t pieces = 0;
  for (size_t at = 0; at + 1 < kitty.size(); ++pieces) {
    const size_t begin = kitty.find(';', at) + 1, end = kitty.find("\x1b\\", begin);
    ASSERT_NE(end, std::string::npos);
    EXPECT_LE(end - begin, 4096u);
    EXPECT_EQ(kitty[begin - 2], end + 3 == kitty.size() ? '0' : '1');
    data += kitty.substr(begin, end - begin);
    at = end + 2;
  }
  EXPECT_GT(pieces, 2u);
  EXPECT_EQ(data, base64(png));
  // Pictures too large for a terminal are made smaller.
  EXPECT_TRUE(picture_sequence(TerminalGraphics::sixel, image, 16).find("\"1;1;16;16#") != std::string::npos);
}

}  // namespace
}  // namespace lathe::cli
