#include "io/gguf.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/checked.h"
#include "io/gguf_types.h"

namespace lathe::io {
namespace {

using tensor::DType;
using tensor::Encoding;

// Limits of ggml's own reader.
constexpr uint64_t kMaxKeyBytes = 65535;
constexpr uint64_t kMaxStringBytes = uint64_t{1} << 30;
constexpr uint64_t kMaxArrayItems = uint64_t{1} << 30;
constexpr uint64_t kMaxTensorName = 63;
constexpr uint32_t kMaxDims = 4;
// Ours: nothing in use nests deeper than 1.
constexpr int kMaxArrayDepth = 8;

template <class T>
T load(const std::byte* in) {
  T value;
  std::memcpy(&value, in, sizeof(T));
  return value;
}

// "NAME-00002-of-00003.gguf" -> {"NAME", 2, 3}.
struct SplitName {
  std::string stem;
  int64_t number = 0;
  int64_t count = 0;
};

std::optional<SplitName> parse_split_name(const std::string& name) {
  constexpr size_t kTail = std::string_view("-00001-of-00002.gguf").size();
  if (name.size() < kTail) return std::nullopt;
  const std::string_view tail = std::string_view(name).substr(name.size() - kTail);
  const auto number = [&](size_t at) -> int64_t {
    int64_t value = 0;
    const char* end = tail.data() + at + 5;
    const auto [rest, error] = std::from_chars(tail.data() + at, end, value);
    return error == std::errc{} && rest == end ? value : -1;
  };
  if (tail[0] != '-' || tail.substr(6, 4) != "-of-" || tail.substr(15) != ".gguf") return std::nullopt;
  SplitName result{name.substr(0, name.size() - kTail), number(1), number(10)};
  if (result.number < 1 || result.count < result.number) return std::nullopt;
  return result;
}

}  // namespace

// Reads the file front to back. Every size is compared with what is left before anything is allocated.
class GgufReader {
 public:
  GgufReader(std::span<const std::byte> bytes, std::shared_ptr<const MappedFile> file) : bytes_(bytes) {
    result_.file = std::move(file);
  }

  GgufFile read() {
    read_header();
    for (uint64_t i = 0; i < metadata_count_; ++i) {
      const std::string_view key = string(kMaxKeyBytes, "key");
      with_context(fmt::format("key \"{}\"", key), [&] {
        const uint32_t type = number<uint32_t>("type");
        result_.metadata.add(key, value(type, 0));
      });
    }
    if (const auto alignment = result_.metadata.find_int("general.alignment")) {
      if (*alignment <= 0 || (*alignment & (*alignment - 1)) != 0 || *alignment > INT32_MAX) {
        fail(ErrorCode::invalid_input, "expected a power of 2 as general.alignment, found {}", *alignment);
      }
      result_.alignment = uint64_t(*alignment);
    }
    read_tensors();
    return std::move(result_);
  }

 private:
  // A tensor whose bytes are not looked up yet.
  struct Pending {
    StoredTensor tensor;
    uint64_t offset = 0;
    uint64_t size = 0;
  };

  std::span<const std::byte> take(uint64_t size, std::string_view what) {
    if (size > bytes_.size() - position_) {
      fail(ErrorCode::invalid_input, "{} at byte {} needs {} bytes, {} are left", what, position_, size,
           bytes_.size() - position_);
    }
    const auto part = bytes_.subspan(position_, size_t(size));
    position_ += size_t(size);
    return part;
  }

  template <class T>
  T number(std::string_view what) {
    return load<T>(take(sizeof(T), what).data());
  }

  std::string_view string(uint64_t limit, std::string_view what) {
    const uint64_t size = number<uint64_t>(what);
    if (size > limit) {
      fail(ErrorCode::invalid_input, "{} at byte {}: expected at most {} bytes, found {}", what, position_,
           limit, size);
    }
    const auto part = take(size, what);
    return {reinterpret_cast<const char*>(part.data()), part.size()};
  }

  void read_header() {
    const auto magic = take(4, "magic");
    if (std::memcmp(magic.data(), "GGUF", 4) != 0) fail(ErrorCode::invalid_input, "does not start with GGUF");
    result_.version = number<uint32_t>("version");
    if ((result_.version & 0xffff) == 0 && result_.version != 0) {
      fail(ErrorCode::unsupported, "big-endian GGUF files are not supported");
    }
    if (result_.version != 2 && result_.version != 3) {
      fail(ErrorCode::unsupported, "expected GGUF version 2 or 3, found {}", result_.version);
    }
    tensor_count_ = number<uint64_t>("tensor count");
    metadata_count_ = number<uint64_t>("metadata count");
    // The shortest entries: an empty key with one byte, a tensor without name and dimensions.
    if (metadata_count_ > bytes_.size() / 13 || tensor_count_ > bytes_.size() / 24) {
      fail(ErrorCode::invalid_input, "{} keys and {} tensors do not fit into {} bytes", metadata_count_,
           tensor_count_, bytes_.size());
    }
  }

  static size_t number_bytes(GgufType type) {
    switch (type) {
      case GgufType::u8:
      case GgufType::i8:
      case GgufType::boolean:
        return 1;
      case GgufType::u16:
      case GgufType::i16:
        return 2;
      case GgufType::u32:
      case GgufType::i32:
      case GgufType::f32:
        return 4;
      case GgufType::u64:
      case GgufType::i64:
      case GgufType::f64:
        return 8;
      default:
        return 0;
    }
  }

  // A value of type `type`, or the elements of an array of such values.
  GgufValue value(uint32_t type, int depth) {
    GgufValue result;
    result.type_ = GgufType(type);
    result.element_type_ = GgufType(type);
    if (result.type_ == GgufType::array) {
      if (depth == kMaxArrayDepth)
        fail(ErrorCode::invalid_input, "arrays nested deeper than {}", kMaxArrayDepth);
      result.element_type_ = GgufType(number<uint32_t>("element type"));
      const uint64_t count = number<uint64_t>("array length");
      const uint64_t least = std::max<uint64_t>(number_bytes(result.element_type_), 1);
      if (count > kMaxArrayItems || count > (bytes_.size() - position_) / least) {
        fail(ErrorCode::invalid_input, "array of {} elements does not fit into {} bytes", count,
             bytes_.size() - position_);
      }
      result.size_ = size_t(count);
    }
    elements(result, depth);
    return result;
  }

  void elements(GgufValue& value, int depth) {
    if (const size_t width = number_bytes(value.element_type_)) {
      value.raw_ = take(value.size_ * width, "value");
      if (value.element_type_ != GgufType::boolean) return;
      for (const std::byte byte : value.raw_) {
        if (byte > std::byte{1})
          fail(ErrorCode::invalid_input, "expected a bool of 0 or 1, found {}", int(byte));
      }
    } else if (value.element_type_ == GgufType::string) {
      if (value.size_ > (bytes_.size() - position_) / 8) {
        fail(ErrorCode::invalid_input, "{} strings do not fit into {} bytes", value.size_,
             bytes_.size() - position_);
      }
      value.strings_.reserve(value.size_);
      for (size_t i = 0; i < value.size_; ++i) value.strings_.push_back(string(kMaxStringBytes, "string"));
    } else if (value.element_type_ == GgufType::array) {
      for (size_t i = 0; i < value.size_; ++i) {
        value.arrays_.push_back(this->value(uint32_t(GgufType::array), depth + 1));
      }
    } else {
      fail(ErrorCode::invalid_input, "unknown value type {}", uint32_t(value.element_type_));
    }
  }

  void read_tensors() {
    std::vector<Pending> pending;
    for (uint64_t i = 0; i < tensor_count_; ++i) pending.push_back(tensor_info());
    // A file without tensors may end right after its metadata.
    const uint64_t data_begin =
        std::min(align_up<uint64_t>(position_, result_.alignment), uint64_t(bytes_.size()));
    const std::span<const std::byte> data = bytes_.subspan(size_t(data_begin));
    for (Pending& entry : pending) {
      if (entry.offset > data.size() || entry.size > data.size() - entry.offset) {
        fail(ErrorCode::invalid_input, "tensor \"{}\": {} bytes at offset {} are beyond the {} bytes of data",
             entry.tensor.name, entry.size, entry.offset, data.size());
      }
      entry.tensor.bytes = data.subspan(size_t(entry.offset), size_t(entry.size));
      entry.tensor.file = result_.file;
    }
    check_overlap(pending);
    for (Pending& entry : pending) result_.tensors.add(std::move(entry.tensor));
  }

  Pending tensor_info() {
    Pending entry;
    entry.tensor.name = string(kMaxTensorName, "tensor name");
    with_context(fmt::format("tensor \"{}\"", entry.tensor.name), [&] {
      const uint32_t rank = number<uint32_t>("rank");
      if (rank > kMaxDims)
        fail(ErrorCode::invalid_input, "expected at most {} dimensions, found {}", kMaxDims, rank);
      tensor::Dims& dims = entry.tensor.dims;
      for (uint32_t i = 0; i < rank; ++i) {
        dims.push_back(checked_cast<int64_t>(number<uint64_t>("dimension"), "dimension"));
      }
      std::reverse(dims.begin(), dims.end());  // the file has the fastest dimension first
      const GgufTensorType type = gguf_tensor_type(number<uint32_t>("type"));
      entry.tensor.dtype = type.dtype;
      entry.tensor.encoding = type.encoding;
      entry.offset = number<uint64_t>("offset");
      if (entry.offset % result_.alignment != 0) {
        fail(ErrorCode::invalid_input, "offset {} is no multiple of {}", entry.offset, result_.alignment);
      }
      const int64_t count = tensor::element_count(dims);
      const int64_t row = dims.empty() ? 1 : dims.back();
      entry.size = type.encoding == Encoding::plain ? tensor::byte_size(type.dtype, count)
                   : row == 0                       ? 0
                              : checked_mul(uint64_t(count / row), uint64_t(tensor::row_bytes(type.encoding, row)),
                                            "tensor bytes");
    });
    return entry;
  }

  static void check_overlap(const std::vector<Pending>& tensors) {
    std::vector<const Pending*> order;
    for (const Pending& entry : tensors) {
      if (entry.size > 0) order.push_back(&entry);
    }
    std::sort(order.begin(), order.end(),
              [](const Pending* a, const Pending* b) { return a->offset < b->offset; });
    for (size_t i = 1; i < order.size(); ++i) {
      if (order[i]->offset < order[i - 1]->offset + order[i - 1]->size) {
        fail(ErrorCode::invalid_input, "tensors \"{}\" and \"{}\" overlap", order[i - 1]->tensor.name,
             order[i]->tensor.name);
      }
    }
  }

  std::span<const std::byte> bytes_;
  size_t position_ = 0;
  uint64_t tensor_count_ = 0;
  uint64_t metadata_count_ = 0;
  GgufFile result_;
};

GgufFile GgufFile::parse(std::span<const std::byte> bytes, std::shared_ptr<const MappedFile> file) {
  return GgufReader(bytes, std::move(file)).read();
}

GgufFile GgufFile::open(const std::filesystem::path& path) {
  const std::shared_ptr<const MappedFile> file = MappedFile::open(path);
  return with_context(path.string(), [&] { return parse(file->bytes(), file); });
}

GgufModel GgufModel::open(const std::filesystem::path& path) {
  GgufModel model;
  GgufFile opened = GgufFile::open(path);
  const int64_t count = opened.metadata.find_int("split.count").value_or(1);
  if (count <= 1) {
    model.tensors = opened.tensors;
    model.first = std::move(opened);
    model.files = {path};
    return model;
  }
  const std::optional<SplitName> name = parse_split_name(path.filename().string());
  if (!name || name->count != count) {
    fail(ErrorCode::invalid_input, "\"{}\": one of {} splits, but not named so", path.string(), count);
  }
  for (int64_t i = 0; i < count; ++i) {
    const auto split_path =
        path.parent_path() / fmt::format("{}-{:05}-of-{:05}.gguf", name->stem, i + 1, count);
    GgufFile split = GgufFile::open(split_path);
    with_context(split_path.string(), [&] {
      const int64_t number = split.metadata.get_int("split.no");
      if (number != i || split.metadata.get_int("split.count") != count) {
        fail(ErrorCode::invalid_input, "expected split {} of {}, found {} of {}", i, count, number,
             split.metadata.get_int("split.count"));
      }
      for (const StoredTensor& tensor : split.tensors) model.tensors.add(tensor);
    });
    model.files.push_back(split_path);
    if (i == 0) model.first = std::move(split);
  }
  const auto total = model.first.metadata.find_int("split.tensors.count");
  if (total && *total != int64_t(model.tensors.size())) {
    fail(ErrorCode::invalid_input, "\"{}\": expected {} tensors in all splits, found {}", path.string(),
         *total, model.tensors.size());
  }
  return model;
}

}  // namespace lathe::io
