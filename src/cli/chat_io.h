// The terminal's side of `lathe chat`: lines in, interruptions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace lathe::cli {

// A line typed at the prompt.
struct ChatLine {
  enum class Kind { message, exit, reset, system };
  Kind kind = Kind::message;
  std::string text;  // of a message, or of the new system message
};

// Reads commands: "/exit", "/reset", "/system TEXT" (no text: none), anything else is a message. Throws usage
// for other words that begin with "/"; "//" begins a message with one.
ChatLine parse_chat_line(std::string_view line);

// The next line of stdin without its end; empty at the end of input. Shows `prompt` on stderr if stdin is a
// terminal.
std::optional<std::string> read_line(std::string_view prompt);

// While it lives, the first Ctrl-C sets a flag; another one before the flag is cleared ends the process with
// exit code 130. One at a time.
class InterruptFlag {
 public:
  InterruptFlag();
  ~InterruptFlag();
  InterruptFlag(const InterruptFlag&) = delete;
  InterruptFlag& operator=(const InterruptFlag&) = delete;
  bool raised() const;

 private:
  void (*before_)(int);
};

}  // namespace lathe::cli
