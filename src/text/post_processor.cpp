#include "text/post_processor.h"

#include <algorithm>

#include "base/checked.h"
#include "base/error.h"

namespace lathe::text {
namespace {

constexpr size_t kMaxItems = 4096;

int32_t id_from(const Json& id) {
  if (!id.is_number_integer())
    fail(ErrorCode::invalid_input, "post_processor: id {} is not an integer", id.dump());
  const int32_t value = checked_cast<int32_t>(id.get<int64_t>(), "id of a special token");
  if (value < 0) fail(ErrorCode::invalid_input, "post_processor: id {} is negative", value);
  return value;
}

// The items of TemplateProcessing.single.
std::vector<int32_t> template_items(const Json& config) {
  const Json& single = get_member(config, "single");
  if (!single.is_array()) fail(ErrorCode::unsupported, "tokenizer: template \"single\" that is not a list");
  const Json* tokens = find_member(config, "special_tokens");
  std::vector<int32_t> items;
  for (const Json& item : single) {
    if (const Json* sequence = find_member(item, "Sequence")) {
      if (get_string(*sequence, "id") != "A")
        fail(ErrorCode::unsupported, "tokenizer: template with a second text");
      items.push_back(SpecialFrame::kText);
      continue;
    }
    const std::string name = get_string(get_member(item, "SpecialToken"), "id");
    const Json* token = tokens ? find_member(*tokens, name) : nullptr;
    if (!token) fail(ErrorCode::invalid_input, "post_processor: special token \"{}\" has no ids", name);
    for (const Json& id : get_member(*token, "ids")) items.push_back(id_from(id));
  }
  return items;
}

// [token, id] of the BERT-like processors.
int32_t id_of_pair(const Json& config, std::string_view key) {
  const Json& pair = get_member(config, key);
  if (!pair.is_array() || pair.size() != 2) fail(ErrorCode::invalid_input, "post_processor: bad \"{}\"", key);
  return id_from(pair[1]);
}

}  // namespace

SpecialFrame make_special_frame(const Json& config) {
  if (config.is_null()) return {};
  const std::string type = get_string(config, "type");
  if (type == "ByteLevel") return {};  // changes offsets only
  SpecialFrame frame;
  if (type == "TemplateProcessing") {
    frame.items = template_items(config);
  } else if (type == "RobertaProcessing" || type == "BertProcessing") {
    frame.items = {id_of_pair(config, "cls"), SpecialFrame::kText, id_of_pair(config, "sep")};
  } else if (type == "Sequence") {
    for (const Json& part : get_member(config, "processors")) {
      // a later processor stands around what an earlier one made
      const SpecialFrame outer = make_special_frame(part);
      const auto place = std::find(outer.items.begin(), outer.items.end(), SpecialFrame::kText);
      std::vector<int32_t> items(outer.items.begin(), place);
      items.insert(items.end(), frame.items.begin(), frame.items.end());
      items.insert(items.end(), place + 1, outer.items.end());
      frame.items = std::move(items);
    }
  } else {
    fail(ErrorCode::unsupported, "tokenizer: post_processor \"{}\"", type);
  }
  if (frame.items.size() > kMaxItems)
    fail(ErrorCode::invalid_input, "post_processor: too many special tokens");
  if (std::count(frame.items.begin(), frame.items.end(), SpecialFrame::kText) != 1) {
    fail(ErrorCode::unsupported, "tokenizer: template that does not use the text exactly once");
  }
  return frame;
}

}  // namespace lathe::text
