// Finds texts that end a generation, although they may be spread over many tokens.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lathe::pipeline {

// Text goes in as it is generated and comes out once it cannot be part of a stop text any more.
class StopTexts {
 public:
  // Throws usage for an empty stop text.
  explicit StopTexts(std::vector<std::string> stops);
  // What has become certain, up to the first stop text; nothing more once that was found.
  std::string push(std::string_view piece);
  // The text held back, when nothing more comes.
  std::string finish();
  bool found() const { return found_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;  // the beginning of a stop text, perhaps
  bool found_ = false;
};

}  // namespace lathe::pipeline
