#include "io/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <set>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "base/checked.h"
#include "base/file.h"
#include "base/json.h"
#include "io/shard_index.h"

namespace lathe::io {
namespace {

using tensor::DType;

constexpr uint64_t kMaxHeader = 100'000'000;  // the reference reader's limit

struct DTypeName {
  std::string_view name;
  DType dtype;
};
constexpr std::array kDTypes = std::to_array<DTypeName>({
    {"BOOL", DType::boolean},
    {"F4", DType::f4e2m1},
    {"U8", DType::u8},
    {"I8", DType::i8},
    {"F8_E5M2", DType::f8e5m2},
    {"F8_E4M3", DType::f8e4m3fn},
    {"F8_E8M0", DType::f8e8m0},
    {"F8_E4M3FNUZ", DType::f8e4m3fnuz},
    {"F8_E5M2FNUZ", DType::f8e5m2fnuz},
    {"I16", DType::i16},
    {"U16", DType::u16},
    {"F16", DType::f16},
    {"BF16", DType::bf16},
    {"I32", DType::i32},
    {"U32", DType::u32},
    {"F32", DType::f32},
    {"C64", DType::c64},
    {"F64", DType::f64},
    {"I64", DType::i64},
    {"U64", DType::u64},
});

DType dtype_of_name(std::string_view name) {
  for (const DTypeName& entry : kDTypes) {
    if (entry.name == name) return entry.dtype;
  }
  const bool six_bits = name == "F6_E2M3" || name == "F6_E3M2";
  fail(six_bits ? ErrorCode::unsupported : ErrorCode::invalid_input, "dtype {} is not supported", name);
}

std::string_view name_of_dtype(DType dtype) {
  for (const DTypeName& entry : kDTypes) {
    if (entry.dtype == dtype) return entry.name;
  }
  fail(ErrorCode::unsupported, "safetensors has no dtype {}", tensor::to_string(dtype));
}

// One tensor as the header states it.
struct Entry {
  std::string name;
  std::string dtype;
  std::vector<uint64_t> shape;
  std::vector<uint64_t> offsets;
  enum Member { none, dtype_member, shape_member, offsets_member };
  std::array<bool, 4> seen{};
};

// Reads the header event by event: a DOM would lose duplicate keys, and memory.
// Levels: 1 the tensors' names, 2 the members of one tensor (or of __metadata__), 3 a list of numbers.
class HeaderReader final : public Json::json_sax_t {
 public:
  std::vector<Entry> entries;
  SafetensorsMetadata metadata;

  bool key(string_t& key) override {
    if (skip_depth_ > 0) return true;
    if (level_ == 1) {
      if (!names_.insert(key).second) fail(ErrorCode::invalid_input, "\"{}\" is there twice", key);
      in_metadata_ = key == "__metadata__";
      if (!in_metadata_) {
        entries.emplace_back();
        entries.back().name = key;
      }
      return true;
    }
    if (in_metadata_) {
      if (!metadata_names_.insert(key).second) {
        fail(ErrorCode::invalid_input, "__metadata__: \"{}\" is there twice", key);
      }
      metadata.emplace_back(key, "");
      return true;
    }
    member_ = key == "dtype"          ? Entry::dtype_member
              : key == "shape"        ? Entry::shape_member
              : key == "data_offsets" ? Entry::offsets_member
                                      : Entry::none;  // ignored, as the reference reader does
    bool& seen = entries.back().seen[member_];
    if (seen && member_ != Entry::none) fail_entry(fmt::format("\"{}\" is there twice", key));
    seen = true;
    return true;
  }

  bool start_object(size_t) override {
    if (ignoring()) return skip(1);
    if (level_ >= 2) fail_here("an object");
    ++level_;
    return true;
  }
  bool end_object() override {
    if (skip_depth_ > 0) return skip(-1);
    if (level_ == 2 && !in_metadata_) finish_entry();
    --level_;
    return true;
  }
  bool start_array(size_t) override {
    if (ignoring()) return skip(1);
    if (level_ != 2 || in_metadata_ || (member_ != Entry::shape_member && member_ != Entry::offsets_member)) {
      fail_here("an array");
    }
    ++level_;
    return true;
  }
  bool end_array() override {
    if (skip_depth_ > 0) return skip(-1);
    --level_;
    return true;
  }
  bool string(string_t& value) override {
    if (ignoring()) return true;
    if (level_ == 2 && in_metadata_)
      metadata.back().second = value;
    else if (level_ == 2 && member_ == Entry::dtype_member)
      entries.back().dtype = value;
    else
      fail_here("a string");
    return true;
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (ignoring()) return true;
    if (level_ != 3) fail_here("a number");
    (member_ == Entry::shape_member ? entries.back().shape : entries.back().offsets).push_back(value);
    return true;
  }
  bool number_integer(number_integer_t) override { return ignoring() || fail_here("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { return ignoring() || fail_here("a fraction"); }
  bool null() override { return ignoring() || fail_here("null"); }
  bool boolean(bool) override { return ignoring() || fail_here("a bool"); }
  bool binary(binary_t&) override { return fail_here("binary data"); }
  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception& error) override {
    fail(ErrorCode::invalid_input, "header is not valid JSON at byte {}: {}", position, error.what());
  }

 private:
  bool ignoring() const { return skip_depth_ > 0 || (level_ == 2 && !in_metadata_ && member_ == Entry::none); }
  bool skip(int step) {
    skip_depth_ += step;
    return true;
  }
  [[noreturn]] bool fail_here(std::string_view found) const {
    if (level_ >= 2 && !in_metadata_) fail_entry(fmt::format("{} where it does not belong", found));
    fail(ErrorCode::invalid_input, "header: {} where it does not belong", found);
  }
  [[noreturn]] void fail_entry(std::string_view what) const {
    fail(ErrorCode::invalid_input, "tensor \"{}\": {}", entries.back().name, what);
  }
  void finish_entry() {
    const Entry& entry = entries.back();
    for (const auto& [member, name] : {std::pair{Entry::dtype_member, "dtype"},
                                       {Entry::shape_member, "shape"},
                                       {Entry::offsets_member, "data_offsets"}}) {
      if (!entry.seen[member]) fail_entry(fmt::format("missing \"{}\"", name));
    }
    if (entry.offsets.size() != 2) fail_entry(fmt::format("expected 2 data_offsets, found {}", entry.offsets.size()));
    member_ = Entry::none;
  }

  int level_ = 0;
  int skip_depth_ = 0;  // inside the value of an ignored member
  bool in_metadata_ = false;
  Entry::Member member_ = Entry::none;
  std::set<std::string> names_;
  std::set<std::string> metadata_names_;
};

// Checks one entry against the data area and its predecessor, which ended at `expected_begin`.
StoredTensor place(Entry entry, uint64_t expected_begin, std::span<const std::byte> data) {
  StoredTensor result;
  result.dtype = dtype_of_name(entry.dtype);
  for (const uint64_t dim : entry.shape) result.dims.push_back(checked_cast<int64_t>(dim, "shape"));
  const uint64_t begin = entry.offsets[0];
  const uint64_t end = entry.offsets[1];
  if (begin != expected_begin || end < begin) {
    fail(ErrorCode::invalid_input, "expected data from byte {} on, found [{}, {}]", expected_begin, begin, end);
  }
  if (end > data.size()) {
    fail(ErrorCode::invalid_input, "data ends at byte {} of {}", end, data.size());
  }
  const int64_t count = tensor::element_count(result.dims);
  const uint64_t size = tensor::byte_size(result.dtype, count);
  if (size != end - begin) {
    fail(ErrorCode::invalid_input, "{}{} needs {} bytes, found {}", tensor::to_string(result.dtype),
         tensor::to_string(std::span<const int64_t>(result.dims)), size, end - begin);
  }
  if (tensor::bits(result.dtype) * (count % 8) % 8 != 0) {
    fail(ErrorCode::invalid_input, "{} elements of {} do not fill whole bytes", count, tensor::to_string(result.dtype));
  }
  result.bytes = data.subspan(size_t(begin), size_t(size));
  result.name = std::move(entry.name);
  return result;
}

SafetensorsModel open_single(const std::filesystem::path& path) {
  SafetensorsFile file = SafetensorsFile::open(path);
  return {std::move(file.tensors), std::move(file.metadata), {path}};
}

SafetensorsModel open_sharded(const std::filesystem::path& index_path) {
  const ShardIndex index = read_shard_index(index_path);
  SafetensorsModel model;
  std::unordered_map<std::string, std::string_view> found_in;
  for (const std::string& shard : index.shards) {
    const std::filesystem::path path = index_path.parent_path() / shard;
    SafetensorsFile file = SafetensorsFile::open(path);
    if (model.files.empty()) model.metadata = std::move(file.metadata);
    model.files.push_back(path);
    with_context(shard, [&] {
      for (const StoredTensor& tensor : file.tensors) {
        found_in.emplace(tensor.name, shard);
        model.tensors.add(tensor);
      }
    });
  }
  check_shards(index, found_in);
  return model;
}

// The only file of `folder` whose name ends with `suffix`; empty if there is none or more than one.
std::filesystem::path only_file(const std::filesystem::path& folder, std::string_view suffix) {
  std::filesystem::path result;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (!entry.path().filename().string().ends_with(suffix)) continue;
    if (!result.empty()) return {};
    result = entry.path();
  }
  if (error) fail(ErrorCode::io, "cannot list \"{}\": {}", folder.string(), error.message());
  return result;
}

std::string header_text(const Json& header) {
  try {
    return header.dump();
  } catch (const nlohmann::json::exception& error) {  // a name that is not UTF-8
    fail(ErrorCode::invalid_input, "names cannot be written as JSON: {}", error.what());
  }
}

}  // namespace

SafetensorsFile SafetensorsFile::parse(std::span<const std::byte> bytes, std::shared_ptr<const MappedFile> file) {
  uint64_t header_size = 0;
  if (bytes.size() < sizeof(header_size)) {
    fail(ErrorCode::invalid_input, "expected a header length of 8 bytes, found {} bytes", bytes.size());
  }
  std::memcpy(&header_size, bytes.data(), sizeof(header_size));
  if (header_size > kMaxHeader || header_size > bytes.size() - sizeof(header_size)) {
    fail(ErrorCode::invalid_input, "header of {} bytes does not fit: limit {}, file {}", header_size, kMaxHeader,
         bytes.size());
  }
  const auto* text = reinterpret_cast<const char*>(bytes.data() + sizeof(header_size));
  if (header_size == 0 || text[0] != '{') fail(ErrorCode::invalid_input, "header does not start with {{");
  HeaderReader reader;
  // Every failure throws from the reader's parse_error.
  LATHE_CHECK(Json::sax_parse(text, text + header_size, &reader));

  std::vector<Entry>& entries = reader.entries;
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.offsets, a.name) < std::tie(b.offsets, b.name);  // empty tensors share their place
  });
  const std::span<const std::byte> data = bytes.subspan(sizeof(header_size) + size_t(header_size));
  SafetensorsFile result;
  result.metadata = std::move(reader.metadata);
  uint64_t position = 0;
  for (Entry& entry : entries) {
    const std::string name = entry.name;
    StoredTensor tensor =
        with_context(fmt::format("tensor \"{}\"", name), [&] { return place(std::move(entry), position, data); });
    position += tensor.bytes.size();
    tensor.file = file;
    result.tensors.add(std::move(tensor));
  }
  if (position != data.size()) {
    fail(ErrorCode::invalid_input, "tensors fill {} bytes of {}", position, data.size());
  }
  return result;
}

SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path) {
  const std::shared_ptr<const MappedFile> file = MappedFile::open(path);
  return with_context(path.string(), [&] { return parse(file->bytes(), file); });
}

std::filesystem::path SafetensorsModel::find_file(const std::filesystem::path& folder) {
  const std::array candidates = {folder / "model.safetensors", folder / "model.safetensors.index.json",
                                 only_file(folder, ".safetensors.index.json"), only_file(folder, ".safetensors")};
  std::error_code error;  // what is wrong with a path shows when it is opened
  const auto it = std::find_if(candidates.begin(), candidates.end(),
                               [&](const auto& p) { return !p.empty() && std::filesystem::exists(p, error); });
  if (it == candidates.end()) {
    fail(ErrorCode::not_found, "no model.safetensors and no model.safetensors.index.json in \"{}\"", folder.string());
  }
  return *it;
}

SafetensorsModel SafetensorsModel::open(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::path file = std::filesystem::is_directory(path, error) ? find_file(path) : path;
  if (file.extension() != ".json") return open_single(file);
  return with_context(file.string(), [&] { return open_sharded(file); });
}

void write_safetensors(const std::filesystem::path& path, std::span<const NamedSource> tensors,
                       const SafetensorsMetadata& metadata) {
  std::vector<const NamedSource*> order;
  for (const NamedSource& tensor : tensors) {
    if (tensor.source->encoding() != tensor::Encoding::plain) {
      fail(ErrorCode::unsupported, "tensor \"{}\": safetensors has no encoding {}", tensor.name,
           tensor::to_string(tensor.source->encoding()));
    }
    order.push_back(&tensor);
  }
  std::sort(order.begin(), order.end(), [](const NamedSource* a, const NamedSource* b) {
    const int a_bits = tensor::bits(a->source->dtype());
    const int b_bits = tensor::bits(b->source->dtype());
    return a_bits != b_bits ? a_bits > b_bits : a->name < b->name;
  });
  Json header = Json::object();
  for (const auto& [key, value] : metadata) header["__metadata__"][key] = value;
  uint64_t position = 0;
  for (const NamedSource* tensor : order) {
    if (header.contains(tensor->name) || tensor->name == "__metadata__") {
      fail(ErrorCode::invalid_input, "tensor \"{}\" is there twice", tensor->name);
    }
    const uint64_t end = position + tensor->source->byte_size();
    header[tensor->name] = {{"dtype", name_of_dtype(tensor->source->dtype())},
                            {"shape", tensor->source->dims()},
                            {"data_offsets", {position, end}}};
    position = end;
  }
  std::string text = header_text(header);
  text.resize(align_up(text.size(), size_t{8}), ' ');
  if (text.size() > kMaxHeader) fail(ErrorCode::unsupported, "safetensors header of {} bytes", text.size());

  AtomicFile file(path);
  const uint64_t header_size = text.size();
  file.reserve(sizeof(header_size) + header_size + position);
  file.write(std::as_bytes(std::span(&header_size, 1)));
  file.write(std::as_bytes(std::span(text)));
  for (const NamedSource* tensor : order) write_rows(file, *tensor->source);
  file.commit();
}

}  // namespace lathe::io
