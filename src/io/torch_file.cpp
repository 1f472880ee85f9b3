#include "io/torch_file.h"

#include <map>
#include <optional>
#include <set>

#include "base/checked.h"
#include "io/strided_source.h"
#include "io/torch_pickle.h"
#include "io/zip.h"

namespace lathe::io {
namespace {

constexpr int kDeepest = 64;                // dicts inside of dicts
constexpr size_t kMostEntries = 4'000'000;  // of dicts, each counted as often as it is reached
// What a file of before 1.6 begins with: the number 0x1950a86a20f9469cfc6c as a pickle, then the protocol 1001.
constexpr std::string_view kMagic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
constexpr int64_t kLegacyProtocol = 1001;

using StorageBytes = std::map<std::string_view, std::span<const std::byte>>;  // by key

// The bytes of a tensor from its first element to its last, checked against its storage.
std::span<const std::byte> bytes_of(const Pickle& pickle, const PickleTensor& tensor,
                                    std::span<const std::byte> storage) {
  const PickleStorage& where = pickle.storages[tensor.storage];
  const uint64_t width = tensor::byte_size(tensor.dtype, 1);
  // Elements of the storage as this tensor counts them: an untyped one counts bytes.
  const uint64_t room = tensor::byte_size(where.dtype, where.elements) / width;
  const auto count = uint64_t(tensor::element_count(tensor.dims));
  uint64_t extent = count > 0 ? 1 : 0;
  for (size_t i = 0; count > 0 && i < tensor.dims.size(); ++i) {
    const uint64_t reach = checked_mul(uint64_t(tensor.dims[i] - 1), uint64_t(tensor.strides[i]), "strides");
    extent = checked_add(extent, reach, "strides");
  }
  const auto offset = uint64_t(tensor.offset);
  if (offset > room || extent > room - offset) {
    fail(ErrorCode::invalid_input, "elements {} to {} of a storage of {}", offset,
         checked_add(offset, extent, "offset"), room);
  }
  // A few bytes that stand for any number of elements.
  if (count > room) fail(ErrorCode::unsupported, "{} elements share a storage of {}", count, room);
  const uint64_t skipped = tensor::byte_size(where.dtype, where.offset);
  return storage.subspan(size_t(skipped + offset * width), size_t(extent * width));
}

// The bytes of each storage that the pickle refers to, of at least the size it says.
void check_storages(const Pickle& pickle, const StorageBytes& storages) {
  for (const PickleStorage& storage : pickle.storages) {
    const auto found = storages.find(storage.key);
    if (found == storages.end()) fail(ErrorCode::invalid_input, "storage \"{}\" is missing", storage.key);
    const int64_t elements = checked_add(storage.offset, storage.elements, "a storage's size");
    const uint64_t bytes =
        checked_mul(uint64_t(elements), uint64_t(tensor::byte_size(storage.dtype, 1)), "a storage's size");
    if (bytes > found->second.size()) {
      fail(ErrorCode::invalid_input, "storage \"{}\": expected {} bytes, found {}", storage.key, bytes,
           found->second.size());
    }
  }
}

// Walks the dicts and collects tensors and texts.
class Collector {
 public:
  Collector(const Pickle& pickle, const StorageBytes& storages, const std::shared_ptr<const MappedFile>& file,
            TorchFile& result)
      : pickle_(pickle), storages_(storages), file_(file), result_(result) {}

  void collect() {
    const PickleValue& root = pickle_[pickle_.root];
    if (root.kind != PickleKind::dict) fail(ErrorCode::invalid_input, "expected a dict of tensors");
    const PickleValue* state = pickle_.find(root, "state_dict");
    walk(state && state->kind == PickleKind::dict ? *state : root, "", 0);
    for (size_t i = 0; i + 1 < root.items.size(); i += 2) {
      const PickleValue& key = pickle_[root.items[i]];
      const PickleValue& value = pickle_[root.items[i + 1]];
      if (key.kind == PickleKind::text && value.kind == PickleKind::text) {
        result_.texts.emplace_back(key.text, value.text);
      }
    }
  }

 private:
  void walk(const PickleValue& dict, const std::string& prefix, int depth) {
    if (depth > kDeepest) fail(ErrorCode::invalid_input, "dicts inside of dicts, more than {} deep", kDeepest);
    for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
      if (++entries_ > kMostEntries) fail(ErrorCode::invalid_input, "more than {} entries", kMostEntries);
      const PickleValue& key = pickle_[dict.items[i]];
      const PickleValue& value = pickle_[dict.items[i + 1]];
      if (value.kind != PickleKind::tensor && value.kind != PickleKind::dict) continue;
      if (key.kind != PickleKind::text && key.kind != PickleKind::integer) continue;
      const std::string name =
          prefix + (key.kind == PickleKind::text ? std::string(key.text) : std::to_string(key.integer));
      if (value.kind == PickleKind::dict) {
        walk(value, name + ".", depth + 1);
      } else {
        add(name, pickle_.tensors[value.index]);
      }
    }
  }

  void add(const std::string& name, const PickleTensor& tensor) {
    if (!names_.insert(name).second) fail(ErrorCode::invalid_input, "tensor \"{}\" is there twice", name);
    with_context(fmt::format("tensor \"{}\"", name), [&] {
      const auto bytes = bytes_of(pickle_, tensor, storages_.at(pickle_.storages[tensor.storage].key));
      std::string origin = file_ ? fmt::format("{}: {}", file_->path().filename().string(), name) : name;
      result_.tensors.push_back(
          {name, strided_source(tensor.dtype, tensor.dims, tensor.strides, bytes, file_, std::move(origin))});
    });
  }

  const Pickle& pickle_;
  const StorageBytes& storages_;
  const std::shared_ptr<const MappedFile>& file_;
  TorchFile& result_;
  std::set<std::string, std::less<>> names_;
  size_t entries_ = 0;
};

// X of X/data.pkl, with the slash.
std::string archive_root(const ZipArchive& archive) {
  constexpr std::string_view kPickle = "data.pkl";
  std::optional<std::string> root;
  for (const auto& [name, bytes] : archive.entries()) {
    if (!name.ends_with(kPickle)) continue;
    const std::string_view before = std::string_view(name).substr(0, name.size() - kPickle.size());
    if (!before.empty() && before.find('/') != before.size() - 1) continue;
    if (root) fail(ErrorCode::invalid_input, "two pickles: \"{}{}\" and \"{}\"", *root, kPickle, name);
    root = before;
  }
  if (!root) fail(ErrorCode::invalid_input, "a zip archive without a data.pkl is no checkpoint of torch");
  if (archive.entries().contains(*root + "constants.pkl")) {
    fail(ErrorCode::unsupported, "a TorchScript program, not a checkpoint");
  }
  return *root;
}

TorchFile parse_archive(std::span<const std::byte> bytes, const std::shared_ptr<const MappedFile>& file) {
  const ZipArchive archive = ZipArchive::parse(bytes);
  const std::string root = archive_root(archive);
  const auto order = archive.entries().find(root + "byteorder");
  if (order != archive.entries().end()) {
    ByteReader text(order->second, "byteorder");
    if (text.text(text.left()) != "little") fail(ErrorCode::unsupported, "a big-endian checkpoint");
  }
  ByteReader reader(archive.get(root + "data.pkl"), "data.pkl");
  const Pickle pickle = Pickle::parse(reader);
  StorageBytes storages;
  for (const PickleStorage& storage : pickle.storages) {
    const auto entry = archive.entries().find(fmt::format("{}data/{}", root, storage.key));
    if (entry != archive.entries().end()) storages.emplace(storage.key, entry->second);
  }
  check_storages(pickle, storages);
  TorchFile result;
  Collector(pickle, storages, file, result).collect();
  return result;
}

// The storages behind the pickles of an old file, in the order of their keys: a count of elements, then these.
StorageBytes read_storages(ByteReader& reader, const Pickle& keys, const Pickle& pickle) {
  std::map<std::string_view, uint64_t> widths;
  for (const PickleStorage& storage : pickle.storages) {
    const uint64_t width = tensor::byte_size(storage.dtype, 1);
    if (const auto [known, added] = widths.emplace(storage.key, width); !added && known->second != width) {
      fail(ErrorCode::invalid_input, "storage \"{}\" has elements of {} and of {} bytes", storage.key, known->second,
           width);
    }
  }
  StorageBytes storages;
  const PickleValue& list = keys[keys.root];
  if (list.kind != PickleKind::list) fail(ErrorCode::invalid_input, "expected a list of the storages' keys");
  for (const PickleId id : list.items) {
    const auto width = widths.find(keys[id].text);
    if (keys[id].kind != PickleKind::text || width == widths.end()) {
      fail(ErrorCode::invalid_input, "a storage that no tensor names: \"{}\"", keys[id].text);
    }
    const uint64_t bytes = checked_mul(reader.u64(), width->second, "a storage's size");
    if (!storages.emplace(width->first, reader.take(bytes)).second) {
      fail(ErrorCode::invalid_input, "storage \"{}\" is there twice", keys[id].text);
    }
  }
  return storages;
}

TorchFile parse_legacy(std::span<const std::byte> bytes, const std::shared_ptr<const MappedFile>& file) {
  ByteReader reader(bytes, "the file");
  const Pickle magic = Pickle::parse(reader);
  if (magic[magic.root].kind != PickleKind::big_integer || magic[magic.root].text != kMagic) {
    fail(ErrorCode::invalid_input, "a pickle that torch.save did not write");
  }
  const Pickle protocol = Pickle::parse(reader);
  if (protocol[protocol.root].integer != kLegacyProtocol) {
    fail(ErrorCode::unsupported, "protocol {} of torch.save", protocol[protocol.root].integer);
  }
  const Pickle system = Pickle::parse(reader);
  const PickleValue* little = system.find(system[system.root], "little_endian");
  if (little && little->integer == 0) fail(ErrorCode::unsupported, "a big-endian checkpoint");
  const Pickle pickle = Pickle::parse(reader);
  const Pickle keys = Pickle::parse(reader);
  const StorageBytes storages = read_storages(reader, keys, pickle);
  check_storages(pickle, storages);
  TorchFile result;
  Collector(pickle, storages, file, result).collect();
  return result;
}

}  // namespace

bool TorchFile::begins_like(std::string_view head) {
  return ZipArchive::begins_like(head) ||
         (head.size() > 1 && head[0] == '\x80' && head[1] >= '\x02' && head[1] <= '\x05');
}

TorchFile TorchFile::parse(std::span<const std::byte> bytes, std::shared_ptr<const MappedFile> file) {
  const std::string_view head(reinterpret_cast<const char*>(bytes.data()), std::min<size_t>(bytes.size(), 4));
  return ZipArchive::begins_like(head) ? parse_archive(bytes, file) : parse_legacy(bytes, file);
}

TorchFile TorchFile::open(const std::filesystem::path& path) {
  const std::shared_ptr<const MappedFile> file = MappedFile::open(path);
  return with_context(path.string(), [&] { return parse(file->bytes(), file); });
}

}  // namespace lathe::io
