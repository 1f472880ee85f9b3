#include "cli/chat_io.h"

#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "base/error.h"
#include "cli/verb.h"

namespace lathe::cli {
namespace {

// A signal handler reaches nothing but globals.
volatile std::sig_atomic_t interrupted = 0;

void on_interrupt(int) {
  if (interrupted) std::_Exit(int(Exit::interrupted));
  interrupted = 1;
}

std::string_view trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

}  // namespace

ChatLine parse_chat_line(std::string_view line) {
  const std::string_view text = trim(line);
  if (!text.starts_with('/')) return {ChatLine::Kind::message, std::string(text)};
  if (text.starts_with("//")) return {ChatLine::Kind::message, std::string(text.substr(1))};
  const size_t space = text.find_first_of(" \t");
  const std::string_view word = text.substr(0, space);
  const std::string_view rest = space == std::string_view::npos ? std::string_view() : trim(text.substr(space));
  if (word == "/system") return {ChatLine::Kind::system, std::string(rest)};
  if (word == "/exit" && rest.empty()) return {ChatLine::Kind::exit, {}};
  if (word == "/reset" && rest.empty()) return {ChatLine::Kind::reset, {}};
  fail(ErrorCode::usage, "\"{}\" is no command: /exit, /reset, /system TEXT; a message may begin with //", text);
}

std::optional<std::string> read_line(std::string_view prompt) {
  if (::isatty(STDIN_FILENO) == 1) {
    std::fwrite(prompt.data(), 1, prompt.size(), stderr);
    std::fflush(stderr);
  }
  std::string line;
  int c = 0;
  while ((c = std::getc(stdin)) != EOF && c != '\n') line += char(c);
  if (c == EOF && line.empty()) return std::nullopt;
  return line;
}

InterruptFlag::InterruptFlag() {
  interrupted = 0;
  before_ = std::signal(SIGINT, on_interrupt);
}
InterruptFlag::~InterruptFlag() {
  std::signal(SIGINT, before_);
}
bool InterruptFlag::raised() const {
  return interrupted != 0;
}

}  // namespace lathe::cli
