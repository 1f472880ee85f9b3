#include "io/zip.h"

#include <algorithm>
#include <optional>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "io/byte_reader.h"

namespace lathe::io {
namespace {

// Signatures and fixed sizes of APPNOTE.TXT, sections 4.3.7, 4.3.12 and 4.3.14 to 4.3.16.
constexpr uint32_t kLocal = 0x04034b50, kCentral = 0x02014b50, kEnd = 0x06054b50;
constexpr uint32_t kEnd64 = 0x06064b50, kLocator64 = 0x07064b50;
constexpr size_t kLocalSize = 30, kCentralSize = 46, kEndSize = 22, kLocatorSize = 20, kEnd64Size = 56;
constexpr uint32_t kIn64 = 0xffffffff;  // the value stands in the zip64 field
constexpr size_t kLongestComment = 0xffff;

struct Directory {
  uint64_t entries = 0, size = 0, offset = 0;
};

// One entry as the directory states it.
struct Entry {
  std::string name;
  uint64_t size = 0, header = 0;  // of its bytes; of its local header in the file
  uint64_t begin = 0;             // of its bytes
};

// Where the record that ends the archive begins: the last one whose comment reaches to the file's end.
size_t find_end(std::span<const std::byte> bytes) {
  if (bytes.size() >= kEndSize) {
    const size_t last = bytes.size() - kEndSize;
    for (size_t at = last;; --at) {
      ByteReader reader(bytes.subspan(at), "the end of the archive");
      if (reader.u32() == kEnd) {
        reader.skip(kEndSize - 6);
        if (size_t(reader.u16()) == last - at) return at;
      }
      if (at == 0 || last - at >= kLongestComment) break;
    }
  }
  fail(ErrorCode::invalid_input, "no directory at the end: not a zip archive, or cut short");
}

// The zip64 form of the end record, which a locator right before the plain one points to.
std::optional<Directory> find_directory64(std::span<const std::byte> bytes, size_t end) {
  if (end < kLocatorSize) return std::nullopt;
  ByteReader locator(bytes.subspan(end - kLocatorSize, kLocatorSize), "the zip64 locator");
  if (locator.u32() != kLocator64) return std::nullopt;
  locator.skip(4);
  const uint64_t place = locator.u64();
  if (end - kLocatorSize < kEnd64Size || place > end - kLocatorSize - kEnd64Size) {
    fail(ErrorCode::invalid_input, "the zip64 directory's end is said to be at byte {} of {}", place, bytes.size());
  }
  ByteReader record(bytes.subspan(size_t(place), kEnd64Size), "the zip64 directory's end");
  if (record.u32() != kEnd64) fail(ErrorCode::invalid_input, "no zip64 directory's end at byte {}", place);
  record.skip(20);  // its size, versions, disks
  record.skip(8);   // entries on this disk
  Directory directory;
  directory.entries = record.u64();
  directory.size = record.u64();
  directory.offset = record.u64();
  return directory;
}

Directory read_directory(std::span<const std::byte> bytes) {
  const size_t end = find_end(bytes);
  ByteReader record(bytes.subspan(end), "the end of the archive");
  record.skip(4);
  const uint16_t disk = record.u16(), directory_disk = record.u16(), here = record.u16(), all = record.u16();
  Directory directory{.entries = all, .size = record.u32(), .offset = record.u32()};
  const bool in64 = all == 0xffff || directory.size == kIn64 || directory.offset == kIn64;
  const auto larger = find_directory64(bytes, end);
  if (larger) directory = *larger;
  if (!larger && in64) fail(ErrorCode::invalid_input, "the zip64 directory is missing");
  if (!larger && (disk != 0 || directory_disk != 0 || here != all)) {
    fail(ErrorCode::unsupported, "an archive in several files");
  }
  if (directory.offset > end || directory.size > end - directory.offset) {
    fail(ErrorCode::invalid_input, "a directory of {} bytes at byte {} does not fit before byte {}", directory.size,
         directory.offset, end);
  }
  return directory;
}

// The 64-bit fields that stand in for those that are all ones, in their order.
void read_zip64(std::span<const std::byte> extra, uint64_t& size, uint64_t& packed, uint64_t& header) {
  ByteReader fields(extra, "the extra field");
  while (fields.left() >= 4) {
    const uint16_t kind = fields.u16();
    ByteReader field(fields.take(fields.u16()), "the zip64 field");
    if (kind != 1) continue;
    for (uint64_t* value : {&size, &packed, &header}) {
      if (*value == kIn64) *value = field.u64();
    }
    return;
  }
}

Entry read_entry(ByteReader& directory) {
  if (directory.u32() != kCentral) fail(ErrorCode::invalid_input, "the directory holds something else than entries");
  directory.skip(4);  // versions
  const uint16_t flags = directory.u16(), method = directory.u16();
  directory.skip(8);  // time, date, checksum
  uint64_t packed = directory.u32();
  Entry entry;
  entry.size = directory.u32();
  const size_t name_size = directory.u16(), extra_size = directory.u16(), comment_size = directory.u16();
  directory.skip(8);  // disk, attributes
  entry.header = directory.u32();
  entry.name = directory.text(name_size);
  read_zip64(directory.take(extra_size), entry.size, packed, entry.header);
  directory.skip(comment_size);
  if (flags & 1) fail(ErrorCode::unsupported, "entry \"{}\" is encrypted", entry.name);
  if (method != 0) {
    fail(ErrorCode::unsupported, "entry \"{}\" is compressed (method {}); checkpoints store theirs as they are",
         entry.name, method);
  }
  if (packed != entry.size) {
    fail(ErrorCode::invalid_input, "entry \"{}\" is stored in {} bytes and has {}", entry.name, packed, entry.size);
  }
  return entry;
}

// Finds where the bytes begin: behind the local header, whose name must be the directory's and whose other lengths are
// its own.
void place(Entry& entry, std::span<const std::byte> bytes, uint64_t directory) {
  if (directory < kLocalSize || entry.header > directory - kLocalSize) {
    fail(ErrorCode::invalid_input, "entry \"{}\" is said to be at byte {} of {}", entry.name, entry.header, directory);
  }
  ByteReader local(bytes.subspan(size_t(entry.header), size_t(directory - entry.header)), "the local header");
  if (local.u32() != kLocal) {
    fail(ErrorCode::invalid_input, "entry \"{}\": no header at byte {}", entry.name, entry.header);
  }
  local.skip(kLocalSize - 8);
  const size_t name_size = local.u16(), extra_size = local.u16();
  if (local.text(name_size) != entry.name) {
    fail(ErrorCode::invalid_input, "entry \"{}\" has another name in its own header", entry.name);
  }
  local.skip(extra_size);
  entry.begin = directory - local.left();
  if (entry.size > local.left()) {
    fail(ErrorCode::invalid_input, "entry \"{}\" of {} bytes does not fit at byte {} of {}", entry.name, entry.size,
         entry.begin, directory);
  }
}

}  // namespace

ZipArchive ZipArchive::parse(std::span<const std::byte> bytes) {
  const Directory directory = read_directory(bytes);
  if (directory.entries > directory.size / kCentralSize) {
    fail(ErrorCode::invalid_input, "{} entries do not fit into a directory of {} bytes", directory.entries,
         directory.size);
  }
  ByteReader reader(bytes.subspan(size_t(directory.offset), size_t(directory.size)), "the directory");
  std::vector<Entry> entries(size_t(directory.entries));
  for (Entry& entry : entries) {
    entry = read_entry(reader);
    place(entry, bytes, directory.offset);
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.header < b.header; });
  ZipArchive archive;
  uint64_t end = 0;
  for (Entry& entry : entries) {
    if (entry.header < end) fail(ErrorCode::invalid_input, "entry \"{}\" overlaps the one before it", entry.name);
    end = entry.begin + entry.size;
    const auto part = bytes.subspan(size_t(entry.begin), size_t(entry.size));
    const auto [place, added] = archive.entries_.emplace(std::move(entry.name), part);
    if (!added) fail(ErrorCode::invalid_input, "entry \"{}\" is there twice", place->first);
  }
  return archive;
}

std::span<const std::byte> ZipArchive::get(std::string_view name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) fail(ErrorCode::invalid_input, "no entry \"{}\" in the archive", name);
  return found->second;
}

}  // namespace lathe::io
