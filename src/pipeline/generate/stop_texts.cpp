#include "pipeline/generate/stop_texts.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace lathe::pipeline {
namespace {

// Length of the longest end of `text` that a stop text begins with, without being all of it.
size_t open_match(std::string_view text, std::string_view stop) {
  for (size_t length = std::min(text.size(), stop.size() - 1); length > 0; --length) {
    if (text.ends_with(stop.substr(0, length))) return length;
  }
  return 0;
}

}  // namespace

StopTexts::StopTexts(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (const std::string& stop : stops_) {
    if (stop.empty()) fail(ErrorCode::usage, "a stop text is empty");
  }
}

std::string StopTexts::push(std::string_view piece) {
  if (found_) return {};
  held_ += piece;
  size_t begin = std::string::npos;
  for (const std::string& stop : stops_) begin = std::min(begin, held_.find(stop));
  found_ = begin != std::string::npos;
  size_t certain = begin;
  if (!found_) {
    size_t open = 0;
    for (const std::string& stop : stops_) open = std::max(open, open_match(held_, stop));
    certain = held_.size() - open;
  }
  std::string out = held_.substr(0, certain);
  if (found_)
    held_.clear();
  else
    held_.erase(0, certain);
  return out;
}

std::string StopTexts::finish() {
  return std::exchange(held_, {});
}

}  // namespace lathe::pipeline
