#include "cli/chat_io.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace lathe::cli {
namespace {

using Kind = ChatLine::Kind;

void expect_line(std::string_view line, Kind kind, std::string_view text) {
  const ChatLine found = parse_chat_line(line);
  EXPECT_EQ(int(found.kind), int(kind)) << line;
  EXPECT_EQ(found.text, text) << line;
}

TEST(ChatLine, AnythingElseIsAMessage) {
  expect_line("hello", Kind::message, "hello");
  expect_line("  hello there \t\r", Kind::message, "hello there");
  expect_line("", Kind::message, "");
  expect_line(" \t ", Kind::message, "");
  expect_line("what is 1/2?", Kind::message, "what is 1/2?");
  expect_line("exit", Kind::message, "exit");
}

TEST(ChatLine, TwoSlashesBeginAMessageWithOne) {
  expect_line("//exit", Kind::message, "/exit");
  expect_line("  //", Kind::message, "/");
  expect_line("///", Kind::message, "//");
}

TEST(ChatLine, Commands) {
  expect_line("/exit", Kind::exit, "");
  expect_line(" /exit\r", Kind::exit, "");  // as Windows terminals end lines
  expect_line("/reset ", Kind::reset, "");
  expect_line("/system", Kind::system, "");
  expect_line("/system   Be brief. ", Kind::system, "Be brief.");
  expect_line("/system\t/exit", Kind::system, "/exit");
}

TEST(ChatLine, OtherWordsAreRefusedNotSent) {
  for (const char* line : {"/quit", "/", "/exit now", "/reset all", "/System x", "/systematic", "/ exit"}) {
    try {
      parse_chat_line(line);
      ADD_FAILURE() << line;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage) << line;
    }
  }
}

}  // namespace
}  // namespace lathe::cli
