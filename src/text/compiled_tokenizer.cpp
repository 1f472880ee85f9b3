// Tokenizer::serialize and deserialize.
//
// Layout, little-endian: magic "LTHTOK01", then sections, each a u64 size in bytes and that many bytes,
// padded with zeros to a multiple of 8:
//   config      JSON: the tokenizer.json without vocabulary and merges; added tokens with final ids
//   tokens      Vocabulary::bytes
//   ends        u32 [ids]
//   slots       i32 [power of two]: the vocabulary's hash table
//   size        u64: number of tokens
//   merges      MergeSlot [power of two]: the merges' hash table
#include <bit>
#include <cstring>

#include "base/checked.h"
#include "base/error.h"
#include "text/tokenizer.h"
#include "text/tokenizer_impl.h"
#include "text/utf8.h"

static_assert(std::endian::native == std::endian::little, "arrays are written as they are in memory");

namespace lathe::text {
namespace {

constexpr std::string_view kMagic = "LTHTOK01";
constexpr size_t kMagicName = 6;  // the last two bytes of the magic are the version

void append_section(std::string& out, const void* data, size_t bytes) {
  const uint64_t size = bytes;
  out.append(reinterpret_cast<const char*>(&size), sizeof size);
  if (bytes > 0) out.append(static_cast<const char*>(data), bytes);
  out.resize(align_up<size_t>(out.size(), 8), '\0');
}

template <class T>
void append_array(std::string& out, const std::vector<T>& items) {
  append_section(out, items.data(), items.size() * sizeof(T));
}

class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::span<const std::byte> section(std::string_view what) {
    uint64_t size = 0;
    if (bytes_.size() - at_ < sizeof size)
      fail(ErrorCode::invalid_input, "compiled tokenizer: {} is missing", what);
    std::memcpy(&size, bytes_.data() + at_, sizeof size);
    at_ += sizeof size;
    if (size > bytes_.size() - at_) {
      fail(ErrorCode::invalid_input, "compiled tokenizer: {} has {} bytes, {} are left", what, size,
           bytes_.size() - at_);
    }
    const auto part = bytes_.subspan(at_, size_t(size));
    at_ = std::min(align_up<size_t>(at_ + size_t(size), 8), bytes_.size());
    return part;
  }

  std::string text(std::string_view what) {
    const auto part = section(what);
    return std::string(reinterpret_cast<const char*>(part.data()), part.size());
  }

  template <class T>
  std::vector<T> array(std::string_view what) {
    const auto part = section(what);
    if (part.size() % sizeof(T) != 0) fail(ErrorCode::invalid_input, "compiled tokenizer: {} is cut", what);
    std::vector<T> items(part.size() / sizeof(T));
    if (!items.empty()) std::memcpy(items.data(), part.data(), part.size());
    return items;
  }

  void skip(size_t bytes) { at_ += bytes; }

 private:
  std::span<const std::byte> bytes_;
  size_t at_ = 0;
};

std::deque<AddedToken> final_added_tokens(const Json& config) {
  std::deque<AddedToken> added;
  for (const Json& item : get_member(config, "added_tokens")) {
    added.push_back(added_token_from_json(item));
    if (added.back().id < 0)
      fail(ErrorCode::invalid_input, "compiled tokenizer: negative id of an added token");
  }
  return added;
}

}  // namespace

std::string Tokenizer::serialize() const {
  Json config = impl_->config;
  config["added_tokens"] = Json::array();
  for (const AddedToken& token : impl_->added_tokens) config["added_tokens"].push_back(to_json(token));
  const std::string config_text = config.dump();
  const Vocabulary& vocabulary = impl_->bpe.vocabulary();
  const uint64_t count = vocabulary.size();

  std::string out(kMagic);
  append_section(out, config_text.data(), config_text.size());
  append_section(out, vocabulary.bytes().data(), vocabulary.bytes().size());
  append_array(out, vocabulary.ends());
  append_array(out, vocabulary.slots());
  append_section(out, &count, sizeof count);
  append_array(out, impl_->bpe.merge_table());
  return out;
}

Tokenizer Tokenizer::deserialize(std::span<const std::byte> compiled) {
  const std::string_view start(reinterpret_cast<const char*>(compiled.data()),
                               std::min(compiled.size(), kMagic.size()));
  if (start != kMagic) {
    if (start.size() == kMagic.size() && start.starts_with(kMagic.substr(0, kMagicName))) {
      fail(ErrorCode::unsupported, "compiled tokenizer: version {}, expected {}", start.substr(kMagicName),
           kMagic.substr(kMagicName));
    }
    fail(ErrorCode::invalid_input, "not a compiled tokenizer");
  }
  Reader reader(compiled);
  reader.skip(kMagic.size());
  Json config = parse_json(reader.text("config"), "compiled tokenizer");
  std::string bytes = reader.text("tokens");
  if (valid_utf8_prefix(bytes) != bytes.size())
    fail(ErrorCode::invalid_input, "compiled tokenizer: tokens are not UTF-8");
  auto ends = reader.array<uint32_t>("ends");
  for (const uint32_t end : ends) {
    // decoding relies on whole characters in each token
    if (end < bytes.size() && (uint8_t(bytes[end]) & 0xC0) == 0x80) {
      fail(ErrorCode::invalid_input, "compiled tokenizer: a token ends inside a character");
    }
  }
  auto slots = reader.array<int32_t>("slots");
  const auto count = reader.array<uint64_t>("size");
  if (count.size() != 1) fail(ErrorCode::invalid_input, "compiled tokenizer: bad size");
  Vocabulary vocabulary(std::move(bytes), std::move(ends), std::move(slots), size_t(count[0]));
  Bpe bpe(std::move(vocabulary), reader.array<MergeSlot>("merges"),
          Impl::bpe_options(get_member(config, "model")));
  std::deque<AddedToken> added = final_added_tokens(config);
  return Tokenizer(std::make_shared<const Impl>(std::move(config), std::move(bpe), std::move(added)));
}

}  // namespace lathe::text
