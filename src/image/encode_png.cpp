// PNG writing, and the text chunks, by libpng.
#include <png.h>

#include <csetjmp>
#include <cstring>

#include "image/encode.h"
#include "image/formats.h"

namespace lathe::image {
namespace {

// What libpng reports; it leaves by longjmp, so nothing between the jump and the landing may have a destructor.
struct Failure {
  char message[200] = "";
};

void on_error(png_structp png, png_const_charp message) {
  auto* failure = static_cast<Failure*>(png_get_error_ptr(png));
  std::strncpy(failure->message, message, sizeof failure->message - 1);
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}

// An exception must not cross libpng: running out of memory is remembered and reported as an error of libpng's.
void append_bytes(png_structp png, png_bytep bytes, size_t count) {
  auto* file = static_cast<std::string*>(png_get_io_ptr(png));
  bool full = false;
  try {
    file->append(reinterpret_cast<const char*>(bytes), count);
  } catch (const std::exception&) {
    full = true;
  }
  if (full) png_error(png, "no memory");
}

struct Writer {
  Failure failure;
  std::string file;
  png_structp png = nullptr;
  png_infop info = nullptr;

  Writer() {
    png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &failure, on_error, on_warning);
    if (png) info = png_create_info_struct(png);
    if (!info) {
      png_destroy_write_struct(&png, &info);
      fail(ErrorCode::resource, "no memory to write a PNG");
    }
    png_set_write_fn(png, &file, append_bytes, nullptr);
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer() { png_destroy_write_struct(&png, &info); }
};

bool write_all(png_structp png, png_infop info, const Image& image, png_textp texts, int count, png_bytep* rows) {
  if (setjmp(png_jmpbuf(png))) return false;
  const int colour = image.channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB;
  png_set_IHDR(png, info, png_uint_32(image.width), png_uint_32(image.height), 8, colour, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_set_text(png, info, texts, count);
  png_write_info(png, info);
  png_write_image(png, rows);
  png_write_end(png, nullptr);
  return true;
}

// UTF-8 as Latin-1; false where a character is not in it.
bool to_latin1(std::string_view text, std::string& latin1) {
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = uint8_t(text[i]);
    if (byte < 0x80) {
      latin1 += char(byte);
    } else if ((byte == 0xC2 || byte == 0xC3) && i + 1 < text.size()) {
      latin1 += char(uint8_t(byte << 6) | (uint8_t(text[++i]) & 0x3F));
    } else {
      return false;
    }
  }
  return true;
}

std::string from_latin1(std::string_view text) {
  std::string utf8;
  for (const char c : text) {
    const auto byte = uint8_t(c);
    if (byte < 0x80) {
      utf8 += c;
    } else {
      utf8 += char(0xC0 | (byte >> 6));
      utf8 += char(0x80 | (byte & 0x3F));
    }
  }
  return utf8;
}

// A text and its key in the form that PNG has for them.
struct StoredText {
  std::string key, text;
  bool international = false;  // iTXt: UTF-8
};

StoredText store(const PngText& entry) {
  StoredText stored;
  if (!to_latin1(entry.key, stored.key) || stored.key.empty() || stored.key.size() > 79 ||
      stored.key.find('\0') != std::string::npos) {
    fail(ErrorCode::invalid_input, "PNG text: key \"{}\" is not 1 to 79 characters of Latin-1", entry.key);
  }
  if (entry.value.find('\0') != std::string::npos)
    fail(ErrorCode::invalid_input, "PNG text: a zero in \"{}\"", entry.key);
  stored.international = !to_latin1(entry.value, stored.text);
  if (stored.international) stored.text = entry.value;
  return stored;
}

struct Source {
  Bytes file;
  size_t at = 0;
};

void read_bytes(png_structp png, png_bytep to, size_t count) {
  auto* source = static_cast<Source*>(png_get_io_ptr(png));
  if (count > source->file.size() - source->at) png_error(png, "the file ends early");
  std::memcpy(to, source->file.data() + source->at, count);
  source->at += count;
}

// Everything but the pixels; rows are read one over the other, since texts may stand behind them.
bool read_all(png_structp png, png_infop info, png_infop end, png_bytep row, size_t row_bytes) {
  if (setjmp(png_jmpbuf(png))) return false;
  if (!row) {
    png_read_info(png, info);
    return true;
  }
  const int passes = png_set_interlace_handling(png);
  png_read_update_info(png, info);
  if (png_get_rowbytes(png, info) > row_bytes) png_error(png, "rows longer than the header says");
  const png_uint_32 height = png_get_image_height(png, info);
  for (int pass = 0; pass < passes; ++pass) {
    for (png_uint_32 y = 0; y < height; ++y) png_read_row(png, row, nullptr);
  }
  png_read_end(png, end);
  return true;
}

void append_texts(png_structp png, png_infop info, std::vector<PngText>& entries) {
  png_textp texts = nullptr;
  const int count = png_get_text(png, info, &texts, nullptr);
  for (int i = 0; i < count; ++i) {
    const bool international = texts[i].compression >= PNG_ITXT_COMPRESSION_NONE;
    const size_t length = international ? texts[i].itxt_length : texts[i].text_length;
    const std::string text(texts[i].text ? texts[i].text : "", texts[i].text ? length : 0);
    entries.push_back({from_latin1(texts[i].key), international ? text : from_latin1(text)});
  }
}

}  // namespace

std::string encode_png(const Image& image, std::span<const PngText> texts) {
  if (image.channels != 1 && image.channels != 3)
    fail(ErrorCode::unsupported, "a PNG of {} channels, expected 1 or 3", image.channels);
  std::vector<StoredText> stored;
  for (const PngText& entry : texts) stored.push_back(store(entry));
  std::vector<png_text> chunks(stored.size());
  char empty[] = "";
  for (size_t i = 0; i < stored.size(); ++i) {
    chunks[i].compression = stored[i].international ? PNG_ITXT_COMPRESSION_NONE : PNG_TEXT_COMPRESSION_NONE;
    chunks[i].key = stored[i].key.data();
    chunks[i].text = stored[i].text.data();
    (stored[i].international ? chunks[i].itxt_length : chunks[i].text_length) = stored[i].text.size();
    chunks[i].lang = chunks[i].lang_key = empty;
  }
  std::vector<png_bytep> rows;
  for (int64_t y = 0; y < image.height; ++y) rows.push_back(const_cast<png_bytep>(image.row(y)));  // only read
  Writer writer;
  if (!write_all(writer.png, writer.info, image, chunks.data(), int(chunks.size()), rows.data()))
    fail(ErrorCode::invalid_input, "no PNG of {} x {} pixels: {}", image.width, image.height, writer.failure.message);
  return std::move(writer.file);
}

std::vector<PngText> read_png_texts(Bytes file) {
  Failure failure;
  Source source{file};
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &failure, on_error, on_warning);
  png_infop info = png ? png_create_info_struct(png) : nullptr;
  png_infop end = png ? png_create_info_struct(png) : nullptr;
  struct Guard {
    png_structp& png;
    png_infop &info, &end;
    ~Guard() { png_destroy_read_struct(&png, &info, &end); }
  } guard{png, info, end};
  if (!info || !end) fail(ErrorCode::resource, "no memory to read a PNG");
  png_set_read_fn(png, &source, read_bytes);
  png_set_user_limits(png, png_uint_32(kMaxPixels), png_uint_32(kMaxPixels));
  png_set_chunk_malloc_max(png, 8 << 20);
  if (!read_all(png, info, end, nullptr, 0)) fail(ErrorCode::invalid_input, "PNG: {}", failure.message);
  const uint64_t width = png_get_image_width(png, info), height = png_get_image_height(png, info);
  if (height > uint64_t(kMaxPixels) / width) {
    fail(ErrorCode::invalid_input, "an image of {} x {} pixels, more than {}", width, height, kMaxPixels);
  }
  std::vector<png_byte> row(png_get_rowbytes(png, info));
  if (!read_all(png, info, end, row.data(), row.size())) fail(ErrorCode::invalid_input, "PNG: {}", failure.message);
  std::vector<PngText> entries;
  append_texts(png, info, entries);
  append_texts(png, end, entries);
  return entries;
}

}  // namespace lathe::image
