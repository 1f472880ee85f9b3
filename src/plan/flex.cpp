#include "plan/flex.h"

#include <flatbuffers/flexbuffers.h>

#include <bit>
#include <cstring>

#include "base/error.h"

namespace lathe::plan {
namespace {

constexpr int kMaxDepth = 32;
constexpr uint64_t kMaxMembers = 256;  // of one map: fields of a struct, attributes of an operator

void put(flexbuffers::Builder& builder, const Json& json) {
  switch (json.type()) {
    case Json::value_t::null:
      return builder.Null();
    case Json::value_t::boolean:
      return builder.Bool(json.get<bool>());
    case Json::value_t::number_integer:
      return builder.Int(json.get<int64_t>());
    case Json::value_t::number_unsigned:
      return builder.UInt(json.get<uint64_t>());
    case Json::value_t::number_float:
      return builder.Double(json.get<double>());
    case Json::value_t::string: {
      const std::string& text = json.get_ref<const std::string&>();
      builder.String(text.data(), text.size());
      return;
    }
    case Json::value_t::array: {
      const size_t start = builder.StartVector();
      for (const Json& item : json) put(builder, item);
      builder.EndVector(start, false, false);
      return;
    }
    case Json::value_t::object: {
      const size_t start = builder.StartMap();
      if (json.size() > kMaxMembers) fail(ErrorCode::invalid_input, "a map of {} members", json.size());
      for (const auto& [key, member] : json.items()) {
        if (key.find('\0') != std::string::npos) fail(ErrorCode::invalid_input, "a key with a zero byte");
        builder.Key(key.data(), key.size());
        put(builder, member);
      }
      builder.EndMap(start);
      return;
    }
    default:
      LATHE_CHECK(false, "JSON {}", json.type_name());
  }
}

// Our own reader of the wire format: the library's accessors trust the bytes, and its verifier of this
// version lets keys without an end through.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes), budget_(bytes.size()) {}

  // The last byte is the width of the root's slot, the one before it the root's type.
  Json root() {
    if (bytes_.size() < 3) bad("it has {} bytes", bytes_.size());
    const uint64_t end = bytes_.size() - 2;
    const uint64_t width = number(end + 1, 1);
    if (!std::has_single_bit(width) || width > 8 || width > end) bad("the root is {} bytes wide", width);
    return value(end - width, width, number(end, 1), 0);
  }

 private:
  template <class... Args>
  [[noreturn]] static void bad(fmt::format_string<Args...> format, Args&&... args) {
    fail(ErrorCode::invalid_input, "not a FlexBuffers value: {}", fmt::format(format, std::forward<Args>(args)...));
  }

  std::span<const std::byte> part(uint64_t at, uint64_t size) const {
    if (at > bytes_.size() || size > bytes_.size() - at) bad("{} bytes at {} of {}", size, at, bytes_.size());
    return bytes_.subspan(at, size);
  }

  uint64_t number(uint64_t at, uint64_t width) const {
    uint64_t result = 0;
    std::memcpy(&result, part(at, width).data(), width);  // little-endian, as this machine is
    return result;
  }

  int64_t signed_number(uint64_t at, uint64_t width) const {
    const int unused = int(64 - 8 * width);
    return int64_t(number(at, width) << unused) >> unused;
  }

  double real(uint64_t at, uint64_t width) const {
    const uint64_t bits = number(at, width);
    if (width == 8) return std::bit_cast<double>(bits);
    if (width == 4) return double(std::bit_cast<float>(uint32_t(bits)));
    bad("a float of {} bytes", width);
  }

  // Where the offset in the slot leads: backwards from the slot.
  uint64_t target(uint64_t slot, uint64_t width) const {
    const uint64_t offset = number(slot, width);
    if (offset > slot) bad("offset {} at {}", offset, slot);
    return slot - offset;
  }

  // Elements before the vector's or string's first byte.
  uint64_t count(uint64_t at, uint64_t width) const {
    if (at < width) bad("a vector at {}", at);
    return number(at - width, width);
  }

  // Values that are reached by several paths would let few bytes stand for very many: all that is read
  // together may not be more than the bytes there are.
  void spend(uint64_t size) {
    if (size > budget_) bad("values are shared");
    budget_ -= size;
  }

  Json value(uint64_t slot, uint64_t width, uint64_t packed_type, int depth) {
    const uint64_t child_width = uint64_t{1} << (packed_type & 3);
    switch (packed_type >> 2) {
      case flexbuffers::FBT_NULL:
        return nullptr;
      case flexbuffers::FBT_BOOL:
        return number(slot, width) != 0;
      case flexbuffers::FBT_INT:
        return signed_number(slot, width);
      case flexbuffers::FBT_UINT:
        return number(slot, width);
      case flexbuffers::FBT_FLOAT:
        return real(slot, width);
      case flexbuffers::FBT_STRING:
        return string(target(slot, width), child_width);
      case flexbuffers::FBT_VECTOR:
        return vector(target(slot, width), child_width, depth + 1);
      case flexbuffers::FBT_MAP:
        return map(target(slot, width), child_width, depth + 1);
      default:
        bad("type {} at {}", packed_type >> 2, slot);
    }
  }

  std::string string(uint64_t at, uint64_t width) {
    const uint64_t size = count(at, width);
    spend(size);
    return text(part(at, size));
  }

  static std::string text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  // Slots of `width` bytes, then as many type bytes. Gives the position of the types.
  uint64_t types_of(uint64_t at, uint64_t width, uint64_t elements, int depth) {
    if (depth > kMaxDepth) bad("nested deeper than {}", kMaxDepth);
    if (elements > bytes_.size()) bad("a vector of {}", elements);
    part(at, elements * (width + 1));
    spend(elements * 2);
    return at + elements * width;
  }

  Json vector(uint64_t at, uint64_t width, int depth) {
    const uint64_t elements = count(at, width);
    const uint64_t types = types_of(at, width, elements, depth);
    Json result = Json::array();
    result.get_ref<Json::array_t&>().reserve(elements);
    for (uint64_t i = 0; i < elements; ++i) {
      result.push_back(value(at + i * width, width, number(types + i, 1), depth));
    }
    return result;
  }

  // As a vector, with the offset and the width of its vector of keys in front of its count.
  Json map(uint64_t at, uint64_t width, int depth) {
    const uint64_t elements = count(at, width);
    const uint64_t types = types_of(at, width, elements, depth);
    if (at < 3 * width || elements > kMaxMembers) bad("a map of {} at {}", elements, at);
    const uint64_t keys = target(at - 3 * width, width);
    const uint64_t key_width = number(at - 2 * width, width);
    if (!std::has_single_bit(key_width) || key_width > 8) bad("keys of {} bytes", key_width);
    if (count(keys, key_width) != elements) bad("a map of {} has other keys", elements);
    Json result = Json::object();
    for (uint64_t i = 0; i < elements; ++i) {
      std::string name = key(target(keys + i * key_width, key_width));
      if (result.contains(name)) bad("key \"{}\" comes twice", name);
      result.emplace(std::move(name), value(at + i * width, width, number(types + i, 1), depth));
    }
    return result;
  }

  // Keys end at a zero byte.
  std::string key(uint64_t at) const {
    constexpr uint64_t kLongest = 255;
    const auto rest = part(at, std::min(kLongest + 1, bytes_.size() - std::min<uint64_t>(at, bytes_.size())));
    const void* end = rest.empty() ? nullptr : std::memchr(rest.data(), 0, rest.size());
    if (!end) bad("the key at {} has no end", at);
    return text(rest.first(size_t(static_cast<const std::byte*>(end) - rest.data())));
  }

  std::span<const std::byte> bytes_;
  uint64_t budget_;
};

}  // namespace

std::string encode_flex(const Json& json) {
  // Strings are not pooled: the reader takes sharing for an attack.
  flexbuffers::Builder builder(size_t{1} << 16, flexbuffers::BUILDER_FLAG_SHARE_KEYS);
  put(builder, json);
  builder.Finish();
  const auto& bytes = builder.GetBuffer();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Json decode_flex(std::span<const std::byte> bytes) {
  return Reader(bytes).root();
}

}  // namespace lathe::plan
