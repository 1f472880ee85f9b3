// Names like one that was not found, for messages.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lathe {

// At most `most` of the names, nearest first: those that hold the wanted text, or are held by it, or are a few letters
// away. Deterministic; empty where nothing is near.
std::vector<std::string> near_names(std::string_view wanted, std::span<const std::string> names, size_t most = 5);

// "; near are a, b" or "", to end a message with.
std::string near_text(std::string_view wanted, std::span<const std::string> names);

}  // namespace lathe
