#include "text/jinja_value.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_strings.h"
#include "text/utf8.h"

namespace lathe::text::jinja {
namespace {

constexpr int kMaxDepth = 200;  // of lists and dicts inside each other

// Writes a value, watching length and depth.
class Writer {
 public:
  explicit Writer(size_t limit) : limit_(limit) {}

  void repr(const Value& value, int depth = 0) {
    check(depth);
    if (value.is_string()) {
      quoted(value.string());
    } else if (value.is_list()) {
      const List& list = value.list();
      out_ += list.tuple ? '(' : '[';
      for (size_t i = 0; i < list.items.size(); ++i) {
        if (i > 0) out_ += ", ";
        repr(list.items[i], depth + 1);
      }
      if (list.tuple && list.items.size() == 1) out_ += ',';
      out_ += list.tuple ? ')' : ']';
    } else if (value.is_dict()) {
      out_ += '{';
      bool first = true;
      for (const auto& [key, item] : value.dict().items) {
        if (!first) out_ += ", ";
        first = false;
        repr(key, depth + 1);
        out_ += ": ";
        repr(item, depth + 1);
      }
      out_ += '}';
    } else if (value.is_undefined()) {
      out_ += "Undefined";
    } else {
      scalar(value);
    }
  }

  void scalar(const Value& value) {
    if (value.is_none()) out_ += "None";
    if (value.is_bool()) out_ += value.boolean() ? "True" : "False";
    if (value.is_int()) out_ += fmt::format("{}", value.integer());
    if (value.is_float()) out_ += float_repr(value.number());
    if (value.is_function()) out_ += "<function " + value.function().name + ">";
  }

  void json(const Value& value, int64_t indent, bool sort_keys, int depth = 0) {
    check(depth);
    const auto line = [&](int at_depth) {
      if (indent < 0) return;
      out_ += '\n';
      out_.append(size_t(indent) * size_t(at_depth), ' ');
      check(0);
    };
    if (value.is_list()) {
      const auto& items = value.list().items;
      out_ += '[';
      for (size_t i = 0; i < items.size(); ++i) {
        if (i > 0) out_ += indent < 0 ? ", " : ",";
        line(depth + 1);
        json(items[i], indent, sort_keys, depth + 1);
      }
      if (!items.empty()) line(depth);
      out_ += ']';
    } else if (value.is_dict() && !value.dict().is_namespace) {
      std::vector<std::pair<std::string, const Value*>> items;
      for (const auto& [key, item] : value.dict().items) items.emplace_back(json_key(key), &item);
      // pointers into one dict: equal keys (1 and "1") keep their order
      if (sort_keys) std::sort(items.begin(), items.end());
      out_ += '{';
      for (size_t i = 0; i < items.size(); ++i) {
        if (i > 0) out_ += indent < 0 ? ", " : ",";
        line(depth + 1);
        json_string(items[i].first);
        out_ += ": ";
        json(*items[i].second, indent, sort_keys, depth + 1);
      }
      if (!items.empty()) line(depth);
      out_ += '}';
    } else if (value.is_string()) {
      json_string(value.string());
    } else if (value.is_none()) {
      out_ += "null";
    } else if (value.is_bool()) {
      out_ += value.boolean() ? "true" : "false";
    } else if (value.is_float() && !std::isfinite(value.number())) {
      out_ += std::isnan(value.number()) ? "NaN" : value.number() > 0 ? "Infinity" : "-Infinity";
    } else if (value.is_number()) {
      scalar(value);
    } else {
      fail(ErrorCode::invalid_input, "chat template: tojson of a value of type {}", value.type_name());
    }
  }

  std::string take() {
    check(0);
    return std::move(out_);
  }

 private:
  void check(int depth) const {
    if (out_.size() > limit_) fail(ErrorCode::resource, "chat template: text of more than {} bytes", limit_);
    if (depth > kMaxDepth)
      fail(ErrorCode::resource, "chat template: values nested deeper than {}", kMaxDepth);
  }

  static std::string json_key(const Value& key) {
    if (key.is_string()) return key.string();
    if (key.is_none()) return "null";
    if (key.is_bool()) return key.boolean() ? "true" : "false";
    if (key.is_number()) return to_text(key, 1000);
    fail(ErrorCode::invalid_input, "chat template: tojson of a key of type {}", key.type_name());
  }

  void json_string(std::string_view text) {
    out_ += '"';
    for (const char c : text) {
      switch (c) {
        case '"':
          out_ += "\\\"";
          break;
        case '\\':
          out_ += "\\\\";
          break;
        case '\n':
          out_ += "\\n";
          break;
        case '\r':
          out_ += "\\r";
          break;
        case '\t':
          out_ += "\\t";
          break;
        case '\b':
          out_ += "\\b";
          break;
        case '\f':
          out_ += "\\f";
          break;
        default:
          if (uint8_t(c) < 0x20) {
            out_ += fmt::format("\\u{:04x}", int(c));
          } else {
            out_ += c;
          }
      }
    }
    out_ += '"';
  }

  static bool printable(uint32_t c) {
    if (c < 0x7F) return c >= 0x20;
    const utf8proc_category_t category = utf8proc_category(utf8proc_int32_t(c));
    return category != UTF8PROC_CATEGORY_CN && category < UTF8PROC_CATEGORY_ZS;
  }

  // Python's repr of a string: single quotes unless only they occur inside.
  void quoted(std::string_view text) {
    const bool has_single = text.find('\'') != text.npos, has_double = text.find('"') != text.npos;
    const char quote = has_single && !has_double ? '"' : '\'';
    out_ += quote;
    for (size_t at = 0; at < text.size();) {
      const size_t begin = at;
      const uint32_t c = take_code_point(text, at);
      if (c == uint32_t(quote) || c == '\\') {
        out_ += '\\';
        out_ += char(c);
      } else if (c == '\n') {
        out_ += "\\n";
      } else if (c == '\r') {
        out_ += "\\r";
      } else if (c == '\t') {
        out_ += "\\t";
      } else if (printable(c)) {
        out_ += text.substr(begin, at - begin);
      } else if (c < 0x100) {
        out_ += fmt::format("\\x{:02x}", c);
      } else if (c < 0x10000) {
        out_ += fmt::format("\\u{:04x}", c);
      } else {
        out_ += fmt::format("\\U{:08x}", c);
      }
    }
    out_ += quote;
  }

  size_t limit_;
  std::string out_;
};

bool lists_equal(Interpreter& interpreter, const List& a, const List& b) {
  if (&a == &b) return true;
  return a.tuple == b.tuple &&
         std::equal(a.items.begin(), a.items.end(), b.items.begin(), b.items.end(),
                    [&](const Value& x, const Value& y) { return equal(interpreter, x, y); });
}

bool dicts_equal(Interpreter& interpreter, const Dict& a, const Dict& b) {
  if (&a == &b) return true;
  if (a.is_namespace || b.is_namespace || a.items.size() != b.items.size()) return false;
  return std::all_of(a.items.begin(), a.items.end(), [&](const auto& item) {
    const Value* other = b.find(interpreter, item.first);
    return other && equal(interpreter, item.second, *other);
  });
}

}  // namespace

namespace {

int depth_of(const Value& value) {
  if (value.is_list()) return value.list().depth;
  return value.is_dict() && !value.dict().is_namespace ? value.dict().depth : 0;
}

int checked_depth(int depth) {
  if (depth > kMaxDepth) fail(ErrorCode::resource, "chat template: values nested deeper than {}", kMaxDepth);
  return depth;
}

}  // namespace

Value::Value(List list) {
  int depth = 0;
  for (const Value& item : list.items) depth = std::max(depth, depth_of(item));
  list.depth = checked_depth(depth + 1);
  data_ = std::make_shared<const List>(std::move(list));
}

Value::Value(Dict dict) {
  int depth = 0;
  for (const auto& item : dict.items) depth = std::max({depth, depth_of(item.first), depth_of(item.second)});
  dict.depth = checked_depth(depth + 1);
  data_ = std::make_shared<Dict>(std::move(dict));
}

const Value* Dict::find(std::string_view key) const {
  for (const auto& [name, value] : items) {
    if (name.is_string() && name.string() == key) return &value;
  }
  return nullptr;
}

void Dict::set(std::string_view key, Value value) {
  for (auto& [name, item] : items) {
    if (name.is_string() && name.string() == key) {
      item = std::move(value);
      return;
    }
  }
  items.emplace_back(Value(key), std::move(value));
}

const Value* Dict::find(Interpreter& interpreter, const Value& key) const {
  if (key.is_list() || key.is_dict()) return nullptr;
  for (const auto& [name, value] : items) {
    if (equal(interpreter, name, key)) return &value;
  }
  return nullptr;
}

void Dict::set(Interpreter& interpreter, Value key, Value value) {
  for (auto& [name, item] : items) {
    if (equal(interpreter, name, key)) {
      item = std::move(value);
      return;
    }
  }
  items.emplace_back(std::move(key), std::move(value));
}

Value Value::from_json(const Json& json) {
  switch (json.type()) {
    case Json::value_t::null:
      return None{};
    case Json::value_t::boolean:
      return json.get<bool>();
    case Json::value_t::number_integer:
      return json.get<int64_t>();
    case Json::value_t::number_unsigned:
      if (json.get<uint64_t>() > uint64_t(INT64_MAX)) {
        fail(ErrorCode::invalid_input, "chat template: integer {} is out of range", json.get<uint64_t>());
      }
      return json.get<int64_t>();
    case Json::value_t::number_float:
      return json.get<double>();
    case Json::value_t::string:
      return json.get<std::string>();
    case Json::value_t::array: {
      List list;
      for (const Json& item : json) list.items.push_back(from_json(item));
      return list;
    }
    case Json::value_t::object: {
      Dict dict;
      for (const auto& [key, item] : json.get_ref<const Json::object_t&>()) {
        dict.items.emplace_back(Value(key), from_json(item));
      }
      return dict;
    }
    default:
      fail(ErrorCode::invalid_input, "chat template: a value of type {}", json.type_name());
  }
}

std::string_view Value::type_name() const {
  if (is_undefined()) return "undefined";
  if (is_none()) return "NoneType";
  if (is_bool()) return "bool";
  if (is_int()) return "int";
  if (is_float()) return "float";
  if (is_string()) return "str";
  if (is_list()) return list().tuple ? "tuple" : "list";
  if (is_dict()) return dict().is_namespace ? "Namespace" : "dict";
  return "function";
}

bool truthy(const Value& value) {
  if (value.is_undefined() || value.is_none()) return false;
  if (value.is_number()) return value.number() != 0;
  if (value.is_string()) return !value.string().empty();
  if (value.is_list()) return !value.list().items.empty();
  if (value.is_dict()) return value.dict().is_namespace || !value.dict().items.empty();
  return true;
}

bool equal(Interpreter& interpreter, const Value& a, const Value& b) {
  interpreter.charge(1);
  if (a.is_number() && b.is_number()) {
    return a.is_float() || b.is_float() ? a.number() == b.number() : a.integer() == b.integer();
  }
  if (a.is_string() && b.is_string()) {
    if (&a.string() == &b.string()) return true;
    if (a.string().size() != b.string().size()) return false;
    interpreter.charge_text(a.string().size());
    return a.string() == b.string();
  }
  if (a.is_list() && b.is_list()) return lists_equal(interpreter, a.list(), b.list());
  if (a.is_dict() && b.is_dict()) return dicts_equal(interpreter, a.dict(), b.dict());
  if (a.is_function() && b.is_function()) return &a.function() == &b.function();
  return (a.is_none() && b.is_none()) || (a.is_undefined() && b.is_undefined());
}

int compare(Interpreter& interpreter, const Value& a, const Value& b) {
  interpreter.charge(1);
  if (a.is_number() && b.is_number()) {
    if (!a.is_float() && !b.is_float()) return a.integer() < b.integer() ? -1 : a.integer() > b.integer();
    return a.number() < b.number() ? -1 : a.number() > b.number();
  }
  if (a.is_string() && b.is_string()) {
    interpreter.charge_text(std::min(a.string().size(), b.string().size()));
    const int order = a.string().compare(b.string());  // UTF-8 sorts as code points do
    return order < 0 ? -1 : order > 0;
  }
  if (a.is_list() && b.is_list()) {
    const auto &x = a.list().items, &y = b.list().items;
    for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      if (!equal(interpreter, x[i], y[i])) return compare(interpreter, x[i], y[i]);
    }
    return x.size() < y.size() ? -1 : x.size() > y.size();
  }
  fail(ErrorCode::invalid_input, "chat template: {} and {} cannot be ordered", a.type_name(), b.type_name());
}

bool contains(Interpreter& interpreter, const Value& container, const Value& item) {
  if (container.is_string()) {
    if (!item.is_string()) {
      fail(ErrorCode::invalid_input, "chat template: \"in\" a string needs a string, found {}",
           item.type_name());
    }
    interpreter.charge_text(container.string().size() + item.string().size());
    return find_in(container.string(), item.string()) != std::string::npos;
  }
  if (container.is_list()) {
    const auto& items = container.list().items;
    return std::any_of(items.begin(), items.end(),
                       [&](const Value& other) { return equal(interpreter, other, item); });
  }
  if (container.is_dict()) return container.dict().find(interpreter, item) != nullptr;
  if (container.is_undefined()) return false;
  fail(ErrorCode::invalid_input, "chat template: \"in\" needs a string, list or dict, found {}",
       container.type_name());
}

std::string float_repr(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number > 0 ? "inf" : "-inf";
  // shortest digits that give the number back, as d.ddde+XX; then laid out as Python does
  std::array<char, 64> buffer{};
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), number, std::chars_format::scientific);
  const std::string scientific(buffer.data(), end.ptr);
  const size_t e = scientific.find('e');
  const int exponent = std::stoi(scientific.substr(e + 1));
  if (exponent < -4 || exponent >= 16) return scientific;
  const auto fixed_end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), number, std::chars_format::fixed);
  std::string fixed(buffer.data(), fixed_end.ptr);
  if (fixed.find('.') == std::string::npos) fixed += ".0";
  return fixed;
}

std::string to_repr(const Value& value, size_t limit) {
  Writer writer(limit);
  writer.repr(value);
  return writer.take();
}

std::string to_text(const Value& value, size_t limit) {
  if (value.is_string()) return value.string();
  if (value.is_undefined()) return {};
  return to_repr(value, limit);
}

std::string to_json_text(const Value& value, int64_t indent, bool sort_keys, size_t limit) {
  Writer writer(limit);
  writer.json(value, std::min<int64_t>(indent, 64), sort_keys);
  return writer.take();
}

size_t character_count(std::string_view text) {
  return size_t(std::count_if(text.begin(), text.end(), [](char c) { return (uint8_t(c) & 0xC0) != 0x80; }));
}

Value slice(const Value& value, const Value& start, const Value& stop, const Value& step) {
  std::vector<std::string_view> characters;  // of a string
  if (value.is_string()) {
    const std::string_view text = value.string();
    for (size_t at = 0; at < text.size();) {
      const size_t begin = at;
      take_code_point(text, at);
      characters.push_back(text.substr(begin, at - begin));
    }
  } else if (!value.is_list()) {
    fail(ErrorCode::invalid_input, "chat template: slice of a value of type {}", value.type_name());
  }
  const auto given = [](const Value& part) { return !part.is_none() && !part.is_undefined(); };
  for (const Value* part : {&start, &stop, &step}) {
    if (given(*part) && !part->is_int() && !part->is_bool()) {
      fail(ErrorCode::invalid_input, "chat template: slice with a value of type {}", part->type_name());
    }
  }
  const int64_t size = int64_t(value.is_string() ? characters.size() : value.list().items.size());
  const int64_t stride =
      given(step) ? std::clamp<int64_t>(step.integer(), -(int64_t{1} << 40), int64_t{1} << 40) : 1;
  if (stride == 0) fail(ErrorCode::invalid_input, "chat template: slice step is 0");
  // Python's rules: negative positions count from the end, all are clipped
  const auto place = [&](const Value& part, int64_t fallback) {
    if (!given(part)) return fallback;
    int64_t at = part.integer();
    if (at < 0)
      at = at < -size ? -1 : at + size;
    else if (at > size)
      at = size;
    if (part.integer() < 0 && at == -1) return stride < 0 ? int64_t{-1} : int64_t{0};
    return stride < 0 ? std::min(at, size - 1) : at;
  };
  const int64_t begin = place(start, stride < 0 ? size - 1 : 0), end = place(stop, stride < 0 ? -1 : size);
  std::string text;
  List list;
  if (value.is_list()) list.tuple = value.list().tuple;
  for (int64_t at = begin; stride > 0 ? at < end : at > end; at += stride) {
    if (value.is_string()) {
      text += characters[size_t(at)];
    } else {
      list.items.push_back(value.list().items[size_t(at)]);
    }
  }
  return value.is_string() ? Value(std::move(text)) : Value(std::move(list));
}

}  // namespace lathe::text::jinja
