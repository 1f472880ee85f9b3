// Filters, tests, methods and functions of templates.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>

#include "base/error.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_strings.h"
#include "text/utf8.h"

namespace lathe::text::jinja {
namespace {

[[noreturn]] void bad(std::string_view what, const Value& value) {
  if (value.is_undefined()) {
    fail(ErrorCode::invalid_input, "chat template: {}: \"{}\" is undefined", what, value.undefined_name());
  }
  fail(ErrorCode::invalid_input, "chat template: {} of a value of type {}", what, value.type_name());
}

// The argument at `index` or called `name`; undefined if it is not given.
Value argument(const Arguments& arguments, size_t index, std::string_view name) {
  if (index < arguments.positional.size()) return arguments.positional[index];
  for (const auto& [key, value] : arguments.named) {
    if (key == name) return value;
  }
  return {};
}

const std::string& need_string(const Value& value, std::string_view what) {
  if (!value.is_string()) bad(what, value);
  return value.string();
}

int64_t integer_or(const Value& value, int64_t fallback) {
  if (value.is_undefined() || value.is_none()) return fallback;
  if (!value.is_int() && !value.is_bool()) bad("an integer argument", value);
  return value.integer();
}

bool bool_or(const Value& value, bool fallback) {
  return value.is_undefined() ? fallback : truthy(value);
}
std::string string_or(const Value& value, std::string_view fallback) {
  return value.is_undefined() || value.is_none() ? std::string(fallback)
                                                 : need_string(value, "a string argument");
}

List list_of(std::vector<Value> items) {
  return {.items = std::move(items)};
}

Value strings(const std::vector<std::string>& parts) {
  List list;
  for (const std::string& part : parts) list.items.emplace_back(part);
  return list;
}

// --- filters ---

using Filter = Value (*)(Interpreter&, const Value&, Arguments&);

// What filters that look at an "attribute" see of an item: a dotted path of keys and positions.
Value attribute_of(Interpreter& interpreter, const Value& item, const Value& path) {
  if (path.is_undefined() || path.is_none()) return item;
  if (path.is_int()) {
    if (!item.is_list()) return {};
    return slice(item, path, Value(path.integer() + 1), None{});
  }
  interpreter.charge(1);
  Value value = item;
  for (const std::string& key : split(need_string(path, "attribute"), ".", -1, false)) {
    if (value.is_undefined()) bad("attribute " + key, value);
    if (value.is_list()) {
      int64_t at = 0;
      const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), at);
      const auto& items = value.list().items;
      if (error != std::errc() || at < 0 || size_t(at) >= items.size()) return {};
      value = Value(items[size_t(at)]);
    } else {
      const Value* member = value.is_dict() ? value.dict().find(std::string_view(key)) : nullptr;
      if (!member) return Undefined{key};
      value = Value(*member);
    }
  }
  return value;
}

Value filter_length(Interpreter&, const Value& value, Arguments&) {
  if (value.is_string()) return int64_t(character_count(value.string()));
  if (value.is_list()) return int64_t(value.list().items.size());
  if (value.is_dict() && !value.dict().is_namespace) return int64_t(value.dict().items.size());
  if (value.is_undefined()) return int64_t{0};
  bad("length", value);
}

Value filter_tojson(Interpreter& interpreter, const Value& value, Arguments& arguments) {
  const Value indent = argument(arguments, 1, "indent");
  const Value ascii = argument(arguments, 0, "ensure_ascii");
  if (truthy(ascii)) fail(ErrorCode::unsupported, "chat template: tojson with ensure_ascii");
  if (!argument(arguments, 2, "separators").is_undefined()) {
    fail(ErrorCode::unsupported, "chat template: tojson with separators");
  }
  std::string text =
      to_json_text(value, integer_or(indent, -1), bool_or(argument(arguments, 3, "sort_keys"), false),
                   interpreter.limits().output_bytes);
  interpreter.charge_text(text.size());
  return Value(std::move(text));
}

Value filter_join(Interpreter& interpreter, const Value& value, Arguments& arguments) {
  const Value separator = argument(arguments, 0, "d");
  const std::string between = separator.is_undefined() ? "" : interpreter.text_of(separator);
  const Value path = argument(arguments, 1, "attribute");
  std::string text;
  bool first = true;
  for (const Value& item : iterate(interpreter, value)) {
    if (!first) text += between;
    first = false;
    text += interpreter.text_of(attribute_of(interpreter, item, path));
    interpreter.charge_text(between.size());
    if (text.size() > interpreter.limits().output_bytes)
      fail(ErrorCode::resource, "chat template: text too long");
  }
  interpreter.charge_text(text.size());
  return Value(std::move(text));
}

Value filter_default(Interpreter&, const Value& value, Arguments& arguments) {
  const bool for_false = bool_or(argument(arguments, 1, "boolean"), false);
  if (!value.is_undefined() && (!for_false || truthy(value))) return value;
  const Value fallback = argument(arguments, 0, "default_value");
  return fallback.is_undefined() ? Value("") : fallback;
}

Value replaced(Interpreter& interpreter, const std::string& text, Arguments& arguments) {
  const std::string from = need_string(argument(arguments, 0, "old"), "replace");
  const std::string to = need_string(argument(arguments, 1, "new"), "replace");
  const int64_t count = integer_or(argument(arguments, 2, "count"), -1);
  interpreter.charge_text(text.size() * (1 + to.size() / std::max<size_t>(from.size(), 1)));
  if (text.size() / std::max<size_t>(from.size(), 1) * to.size() > interpreter.limits().output_bytes) {
    fail(ErrorCode::resource, "chat template: replace makes the text too long");
  }
  return Value(replace(text, from, to, count));
}

Value filter_replace(Interpreter& interpreter, const Value& value, Arguments& arguments) {
  return replaced(interpreter, interpreter.text_of(value), arguments);
}

Value filter_first(Interpreter& interpreter, const Value& value, Arguments&) {
  const std::vector<Value> items = iterate(interpreter, value);
  return items.empty() ? Value(Undefined{"first of nothing"}) : items.front();
}

Value filter_last(Interpreter& interpreter, const Value& value, Arguments&) {
  const std::vector<Value> items = iterate(interpreter, value);
  return items.empty() ? Value(Undefined{"last of nothing"}) : items.back();
}

Value filter_reverse(Interpreter& interpreter, const Value& value, Arguments&) {
  if (value.is_string()) return slice(value, None{}, None{}, int64_t{-1});
  std::vector<Value> items = iterate(interpreter, value);
  std::reverse(items.begin(), items.end());
  return list_of(std::move(items));
}

Value filter_list(Interpreter& interpreter, const Value& value, Arguments&) {
  return list_of(iterate(interpreter, value));
}

Value dict_items(Interpreter& interpreter, const Value& value) {
  List list;
  for (const auto& [key, item] : value.dict().items) {
    list.items.push_back(List{.items = {key, item}, .tuple = true});
  }
  interpreter.charge(list.items.size());
  return list;
}

Value filter_items(Interpreter& interpreter, const Value& value, Arguments&) {
  if (value.is_undefined()) return List{};
  if (!value.is_dict()) bad("items", value);
  return dict_items(interpreter, value);
}

// What sorting compares: strings without case unless asked otherwise.
Value sort_key(Interpreter& interpreter, const Value& value, bool case_sensitive) {
  if (!value.is_string() || case_sensitive) return value;
  interpreter.charge_text(value.string().size());
  return Value(lower(value.string()));
}

Value sorted(Interpreter& interpreter, std::vector<Value> items,
             const std::function<Value(const Value&)>& key_of, bool reverse) {
  std::vector<std::pair<Value, Value>> keyed;
  for (Value& item : items) keyed.emplace_back(key_of(item), item);
  interpreter.charge(keyed.size() * 16);
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    return reverse ? compare(a.first, b.first) > 0 : compare(a.first, b.first) < 0;
  });
  List list;
  for (auto& [key, item] : keyed) list.items.push_back(item);
  return list;
}

Value filter_sort(Interpreter& interpreter, const Value& value, Arguments& arguments) {
  const bool reverse = bool_or(argument(arguments, 0, "reverse"), false);
  const bool case_sensitive = bool_or(argument(arguments, 1, "case_sensitive"), false);
  const Value path = argument(arguments, 2, "attribute");
  return sorted(
      interpreter, iterate(interpreter, value),
      [&](const Value& item) {
        return sort_key(interpreter, attribute_of(interpreter, item, path), case_sensitive);
      },
      reverse);
}

Value filter_dictsort(Interpreter& interpreter, const Value& value, Arguments& arguments) {
  if (!value.is_dict()) bad("dictsort", value);
  const bool case_sensitive = bool_or(argument(arguments, 0, "case_sensitive"), false);
  const size_t part = string_or(argument(arguments, 1, "by"), "key") == "value" ? 1 : 0;
  const bool reverse = bool_or(argument(arguments, 2, "reverse"), false);
  return sorted(
      interpreter, iterate(interpreter, dict_items(interpreter, value)),
      [&](const Value& item) { return sort_key(interpreter, item.list().items[part], case_sensitive); },
      reverse);
}

Value filter_unique(Interpreter& interpreter, const Value& value, Arguments& arguments) {
  const bool case_sensitive = bool_or(argument(arguments, 0, "case_sensitive"), false);
  const Value path = argument(arguments, 1, "attribute");
  List list;
  std::vector<Value> seen;
  for (const Value& item : iterate(interpreter, value)) {
    const Value key = sort_key(interpreter, attribute_of(interpreter, item, path), case_sensitive);
    interpreter.charge(seen.size());
    if (std::any_of(seen.begin(), seen.end(), [&](const Value& other) { return equal(other, key); }))
      continue;
    seen.push_back(key);
    list.items.push_back(item);
  }
  return list;
}

Value filter_map(Interpreter& interpreter, const Value& value, Arguments& arguments) {
  const Value path = argument(arguments, size_t(-1), "attribute");
  const Value fallback = argument(arguments, size_t(-1), "default");
  Arguments rest;
  if (path.is_undefined()) {
    if (arguments.positional.empty()) fail(ErrorCode::invalid_input, "chat template: map without a filter");
    rest.positional.assign(arguments.positional.begin() + 1, arguments.positional.end());
    rest.named = arguments.named;
  }
  List list;
  for (const Value& item : iterate(interpreter, value)) {
    if (path.is_undefined()) {
      list.items.push_back(
          apply_filter(interpreter, need_string(arguments.positional[0], "map"), item, rest));
      continue;
    }
    Value member = attribute_of(interpreter, item, path);
    list.items.push_back(member.is_undefined() && !fallback.is_undefined() ? fallback : member);
  }
  return list;
}

// select, reject, selectattr, rejectattr.
Value selected(Interpreter& interpreter, const Value& value, Arguments& arguments, bool wanted,
               bool by_attribute) {
  size_t used = 0;
  Value path;
  if (by_attribute) {
    if (arguments.positional.empty())
      fail(ErrorCode::invalid_input, "chat template: selectattr without an attribute");
    path = arguments.positional[used++];
  }
  const bool has_test = arguments.positional.size() > used;
  const std::string test = has_test ? need_string(arguments.positional[used++], "a test's name") : "";
  Arguments rest;
  rest.positional.assign(arguments.positional.begin() + std::ptrdiff_t(used), arguments.positional.end());
  List list;
  for (const Value& item : iterate(interpreter, value)) {
    const Value subject = by_attribute ? attribute_of(interpreter, item, path) : item;
    const bool holds = has_test ? apply_test(interpreter, test, subject, rest) : truthy(subject);
    if (holds == wanted) list.items.push_back(item);
  }
  return list;
}

Value filter_indent(Interpreter& interpreter, const Value& value, Arguments& arguments) {
  const Value width = argument(arguments, 0, "width");
  const int64_t spaces = width.is_string() ? 0 : std::clamp<int64_t>(integer_or(width, 4), 0, 1000);
  const std::string prefix = width.is_string() ? width.string() : std::string(size_t(spaces), ' ');
  const bool first = bool_or(argument(arguments, 1, "first"), false);
  const bool blank = bool_or(argument(arguments, 2, "blank"), false);
  std::string text = interpreter.text_of(value) + "\n";  // Jinja's own trick: no line is the last
  std::string out = first ? prefix : "";
  const std::vector<std::string> lines = split_lines(text, false);
  if (lines.size() * prefix.size() > interpreter.limits().output_bytes) {
    fail(ErrorCode::resource, "chat template: indent makes the text too long");
  }
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out += '\n';
    if (i > 0 && (blank || !lines[i].empty())) out += prefix;
    out += lines[i];
  }
  interpreter.charge_text(out.size());
  return Value(std::move(out));
}

Value filter_int(Interpreter&, const Value& value, Arguments& arguments) {
  const int64_t fallback = integer_or(argument(arguments, 0, "default"), 0);
  if (value.is_int() || value.is_bool()) return value.integer();
  double number = 0;
  if (value.is_string()) {
    std::string_view text = strip(value.string(), "", Side::both);
    if (text.starts_with('+')) text.remove_prefix(1);
    int64_t integer = 0;
    const char* end = text.data() + text.size();
    const auto whole = std::from_chars(text.data(), end, integer);
    if (whole.ec == std::errc() && whole.ptr == end) return integer;
    const auto real = std::from_chars(text.data(), end, number);
    if (real.ec != std::errc() || real.ptr != end) return fallback;
  } else if (value.is_float()) {
    number = value.number();
  } else {
    return fallback;
  }
  return std::abs(number) < 9e18 ? Value(int64_t(number)) : Value(fallback);
}

Value filter_float(Interpreter&, const Value& value, Arguments& arguments) {
  const Value fallback = argument(arguments, 0, "default");
  if (value.is_number()) return value.number();
  if (value.is_string()) {
    const std::string_view text = strip(value.string(), "", Side::both);
    double number = 0;
    const auto real = std::from_chars(text.data(), text.data() + text.size(), number);
    if (!text.empty() && real.ec == std::errc() && real.ptr == text.data() + text.size()) return number;
  }
  return fallback.is_undefined() ? Value(0.0) : fallback;
}

Value filter_abs(Interpreter&, const Value& value, Arguments&) {
  if (!value.is_number()) bad("abs", value);
  if (value.number() < 0) return negate(value);
  return value.is_bool() ? Value(value.integer()) : value;
}

Value filter_round(Interpreter&, const Value& value, Arguments& arguments) {
  if (!value.is_number()) bad("round", value);
  const int64_t digits = std::clamp<int64_t>(integer_or(argument(arguments, 0, "precision"), 0), -300, 300);
  const std::string method = string_or(argument(arguments, 1, "method"), "common");
  const double scale = std::pow(10.0, double(digits));
  const double scaled = value.number() * scale;
  if (method == "ceil") return std::ceil(scaled) / scale;
  if (method == "floor") return std::floor(scaled) / scale;
  return std::nearbyint(scaled) / scale;
}

Value filter_sum(Interpreter& interpreter, const Value& value, Arguments& arguments) {
  const Value path = argument(arguments, 0, "attribute");
  const Value start = argument(arguments, 1, "start");
  Value total = start.is_undefined() ? Value(int64_t{0}) : start;
  for (const Value& item : iterate(interpreter, value)) {
    total = add(interpreter, total, attribute_of(interpreter, item, path));
  }
  return total;
}

Value extreme(Interpreter& interpreter, const Value& value, Arguments& arguments, int sign) {
  const Value path = argument(arguments, 1, "attribute");
  const bool case_sensitive = bool_or(argument(arguments, 0, "case_sensitive"), false);
  Value best = Undefined{"extreme of nothing"}, best_key;
  for (const Value& item : iterate(interpreter, value)) {
    const Value key = sort_key(interpreter, attribute_of(interpreter, item, path), case_sensitive);
    if (best.is_undefined() || compare(key, best_key) * sign > 0) {
      best = item;
      best_key = key;
    }
  }
  return best;
}

const std::map<std::string, Filter, std::less<>>& filters() {
  static const std::map<std::string, Filter, std::less<>> table = {
      {"length", filter_length},
      {"count", filter_length},
      {"tojson", filter_tojson},
      {"join", filter_join},
      {"default", filter_default},
      {"d", filter_default},
      {"replace", filter_replace},
      {"first", filter_first},
      {"last", filter_last},
      {"reverse", filter_reverse},
      {"list", filter_list},
      {"items", filter_items},
      {"sort", filter_sort},
      {"dictsort", filter_dictsort},
      {"unique", filter_unique},
      {"map", filter_map},
      {"indent", filter_indent},
      {"int", filter_int},
      {"float", filter_float},
      {"abs", filter_abs},
      {"round", filter_round},
      {"sum", filter_sum},
      {"min", [](Interpreter& i, const Value& v, Arguments& a) { return extreme(i, v, a, -1); }},
      {"max", [](Interpreter& i, const Value& v, Arguments& a) { return extreme(i, v, a, 1); }},
      {"select", [](Interpreter& i, const Value& v, Arguments& a) { return selected(i, v, a, true, false); }},
      {"reject",
       [](Interpreter& i, const Value& v, Arguments& a) { return selected(i, v, a, false, false); }},
      {"selectattr",
       [](Interpreter& i, const Value& v, Arguments& a) { return selected(i, v, a, true, true); }},
      {"rejectattr",
       [](Interpreter& i, const Value& v, Arguments& a) { return selected(i, v, a, false, true); }},
      {"string", [](Interpreter& i, const Value& v, Arguments&) { return Value(i.text_of(v)); }},
      {"safe", [](Interpreter& i, const Value& v, Arguments&) { return Value(i.text_of(v)); }},
      {"trim",
       [](Interpreter& i, const Value& v, Arguments& a) {
         return Value(strip(i.text_of(v), string_or(argument(a, 0, "chars"), ""), Side::both));
       }},
      {"upper", [](Interpreter& i, const Value& v, Arguments&) { return Value(upper(i.text_of(v))); }},
      {"lower", [](Interpreter& i, const Value& v, Arguments&) { return Value(lower(i.text_of(v))); }},
      {"capitalize",
       [](Interpreter& i, const Value& v, Arguments&) { return Value(capitalize(i.text_of(v))); }},
      {"escape", [](Interpreter& i, const Value& v, Arguments&) { return Value(escape_html(i.text_of(v))); }},
      {"e", [](Interpreter& i, const Value& v, Arguments&) { return Value(escape_html(i.text_of(v))); }},
      {"attr", [](Interpreter& i, const Value& v,
                  Arguments& a) { return attribute_of(i, v, argument(a, 0, "name")); }},
  };
  return table;
}

// Jinja's title filter: a capital after a blank, a bracket or a hyphen, unlike str.title.
std::string filter_title(std::string_view text) {
  std::string out;
  size_t begin = 0;
  for (size_t at = 0; at <= text.size(); ++at) {
    const bool breaks =
        at < text.size() && (std::string_view("-({[< \t\n\r\f\v").find(text[at]) != std::string_view::npos);
    if (at < text.size() && !breaks) continue;
    out += capitalize(text.substr(begin, at - begin));
    if (breaks) out += text[at];
    begin = at + 1;
  }
  return out;
}

// --- tests ---

using Test = bool (*)(const Value&, const Value&);

const std::map<std::string, Test, std::less<>>& tests() {
  static const std::map<std::string, Test, std::less<>> table = {
      {"defined", [](const Value& v, const Value&) { return !v.is_undefined(); }},
      {"undefined", [](const Value& v, const Value&) { return v.is_undefined(); }},
      {"none", [](const Value& v, const Value&) { return v.is_none(); }},
      {"string", [](const Value& v, const Value&) { return v.is_string(); }},
      {"mapping", [](const Value& v, const Value&) { return v.is_dict() && !v.dict().is_namespace; }},
      {"iterable",
       [](const Value& v, const Value&) {
         return v.is_string() || v.is_list() || v.is_undefined() || (v.is_dict() && !v.dict().is_namespace);
       }},
      {"sequence",
       [](const Value& v, const Value&) {
         return v.is_string() || v.is_list() || v.is_undefined() || (v.is_dict() && !v.dict().is_namespace);
       }},
      {"number", [](const Value& v, const Value&) { return v.is_number(); }},
      {"integer", [](const Value& v, const Value&) { return v.is_int(); }},
      {"float", [](const Value& v, const Value&) { return v.is_float(); }},
      {"boolean", [](const Value& v, const Value&) { return v.is_bool(); }},
      {"true", [](const Value& v, const Value&) { return v.is_bool() && v.boolean(); }},
      {"false", [](const Value& v, const Value&) { return v.is_bool() && !v.boolean(); }},
      {"callable", [](const Value& v, const Value&) { return v.is_function(); }},
      {"odd", [](const Value& v, const Value&) { return integer_or(v, 0) % 2 != 0; }},
      {"even", [](const Value& v, const Value&) { return integer_or(v, 1) % 2 == 0; }},
      {"divisibleby",
       [](const Value& v, const Value& a) {
         const int64_t divisor = integer_or(a, 0);
         if (divisor == 0) fail(ErrorCode::invalid_input, "chat template: divisibleby 0");
         return divisor == -1 || integer_or(v, 1) % divisor == 0;
       }},
      {"lower",
       [](const Value& v, const Value&) {
         return v.is_string() && lower(v.string()) == v.string() && upper(v.string()) != v.string();
       }},
      {"upper",
       [](const Value& v, const Value&) {
         return v.is_string() && upper(v.string()) == v.string() && lower(v.string()) != v.string();
       }},
      {"eq", [](const Value& v, const Value& a) { return equal(v, a); }},
      {"equalto", [](const Value& v, const Value& a) { return equal(v, a); }},
      {"==", [](const Value& v, const Value& a) { return equal(v, a); }},
      {"ne", [](const Value& v, const Value& a) { return !equal(v, a); }},
      {"!=", [](const Value& v, const Value& a) { return !equal(v, a); }},
      {"lt", [](const Value& v, const Value& a) { return compare(v, a) < 0; }},
      {"lessthan", [](const Value& v, const Value& a) { return compare(v, a) < 0; }},
      {"le", [](const Value& v, const Value& a) { return compare(v, a) <= 0; }},
      {"gt", [](const Value& v, const Value& a) { return compare(v, a) > 0; }},
      {"greaterthan", [](const Value& v, const Value& a) { return compare(v, a) > 0; }},
      {"ge", [](const Value& v, const Value& a) { return compare(v, a) >= 0; }},
      {"in", [](const Value& v, const Value& a) { return contains(a, v); }},
      {"sameas",
       [](const Value& v, const Value& a) { return v.type_name() == a.type_name() && equal(v, a); }},
  };
  return table;
}

// --- methods ---

using Method = Value (*)(Interpreter&, const Value&, Arguments&);

Value stripped(const Value& self, Arguments& arguments, Side side) {
  return Value(strip(self.string(), string_or(argument(arguments, 0, "chars"), ""), side));
}

Value split_method(Interpreter& interpreter, const Value& self, Arguments& arguments, bool from_right) {
  const Value separator = argument(arguments, 0, "sep");
  if (separator.is_string() && separator.string().empty()) {
    fail(ErrorCode::invalid_input, "chat template: split with an empty separator");
  }
  interpreter.charge(self.string().size());
  return strings(split(self.string(), string_or(separator, ""),
                       integer_or(argument(arguments, 1, "maxsplit"), -1), from_right));
}

bool affix(const Value& self, const Value& affixes, bool start) {
  const auto one = [&](const Value& text) {
    const std::string& part = need_string(text, start ? "startswith" : "endswith");
    return start ? self.string().starts_with(part) : self.string().ends_with(part);
  };
  if (!affixes.is_list()) return one(affixes);
  return std::any_of(affixes.list().items.begin(), affixes.list().items.end(), one);
}

Value find_text(const Value& self, Arguments& arguments, bool from_right) {
  const std::string& wanted = need_string(argument(arguments, 0, "sub"), "find");
  const size_t at = from_right ? self.string().rfind(wanted) : self.string().find(wanted);
  return at == std::string::npos ? int64_t{-1}
                                 : int64_t(character_count(std::string_view(self.string()).substr(0, at)));
}

// All characters satisfy `holds`, and there is one.
template <class Holds>
bool all_characters(std::string_view text, Holds&& holds) {
  for (size_t at = 0; at < text.size();) {
    if (!holds(take_code_point(text, at))) return false;
  }
  return !text.empty();
}

// str.format with plain fields: {}, {0}, {name}.
Value format_method(Interpreter& interpreter, const Value& self, Arguments& arguments) {
  std::string out;
  const std::string& text = self.string();
  size_t next = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    if ((text[at] == '{' || text[at] == '}') && at + 1 < text.size() && text[at + 1] == text[at]) {
      out += text[at++];
    } else if (text[at] == '{') {
      const size_t close = text.find('}', at);
      if (close == std::string::npos)
        fail(ErrorCode::invalid_input, "chat template: format: \"{{\" without end");
      const std::string field = text.substr(at + 1, close - at - 1);
      if (field.find_first_of(".[!:{") != std::string::npos) {
        fail(ErrorCode::unsupported, "chat template: format field \"{}\"", field);
      }
      size_t index = size_t(-1);
      if (field.empty())
        index = next++;
      else if (std::from_chars(field.data(), field.data() + field.size(), index).ec != std::errc())
        index = size_t(-1);
      const Value value = argument(arguments, index, field);
      if (value.is_undefined())
        fail(ErrorCode::invalid_input, "chat template: format: no value for \"{}\"", field);
      out += interpreter.text_of(value);
      if (out.size() > interpreter.limits().output_bytes)
        fail(ErrorCode::resource, "chat template: text too long");
      at = close;
    } else {
      out += text[at];
    }
  }
  interpreter.charge_text(out.size());
  return Value(std::move(out));
}

const std::map<std::string, Method, std::less<>>& string_methods() {
  static const std::map<std::string, Method, std::less<>> table = {
      {"strip", [](Interpreter&, const Value& s, Arguments& a) { return stripped(s, a, Side::both); }},
      {"lstrip", [](Interpreter&, const Value& s, Arguments& a) { return stripped(s, a, Side::left); }},
      {"rstrip", [](Interpreter&, const Value& s, Arguments& a) { return stripped(s, a, Side::right); }},
      {"split", [](Interpreter& i, const Value& s, Arguments& a) { return split_method(i, s, a, false); }},
      {"rsplit", [](Interpreter& i, const Value& s, Arguments& a) { return split_method(i, s, a, true); }},
      {"splitlines",
       [](Interpreter& i, const Value& s, Arguments& a) {
         i.charge(s.string().size());
         return strings(split_lines(s.string(), bool_or(argument(a, 0, "keepends"), false)));
       }},
      {"startswith",
       [](Interpreter&, const Value& s, Arguments& a) { return Value(affix(s, argument(a, 0, ""), true)); }},
      {"endswith",
       [](Interpreter&, const Value& s, Arguments& a) { return Value(affix(s, argument(a, 0, ""), false)); }},
      {"removeprefix",
       [](Interpreter&, const Value& s, Arguments& a) {
         const std::string& part = need_string(argument(a, 0, ""), "removeprefix");
         return s.string().starts_with(part) ? Value(s.string().substr(part.size())) : s;
       }},
      {"removesuffix",
       [](Interpreter&, const Value& s, Arguments& a) {
         const std::string& part = need_string(argument(a, 0, ""), "removesuffix");
         return s.string().ends_with(part) ? Value(s.string().substr(0, s.string().size() - part.size())) : s;
       }},
      {"replace", [](Interpreter& i, const Value& s, Arguments& a) { return replaced(i, s.string(), a); }},
      {"upper", [](Interpreter&, const Value& s, Arguments&) { return Value(upper(s.string())); }},
      {"lower", [](Interpreter&, const Value& s, Arguments&) { return Value(lower(s.string())); }},
      {"title", [](Interpreter&, const Value& s, Arguments&) { return Value(title(s.string())); }},
      {"capitalize", [](Interpreter&, const Value& s, Arguments&) { return Value(capitalize(s.string())); }},
      {"find", [](Interpreter&, const Value& s, Arguments& a) { return find_text(s, a, false); }},
      {"rfind", [](Interpreter&, const Value& s, Arguments& a) { return find_text(s, a, true); }},
      {"count",
       [](Interpreter&, const Value& s, Arguments& a) {
         const std::string& part = need_string(argument(a, 0, ""), "count");
         if (part.empty()) return Value(int64_t(character_count(s.string())) + 1);
         int64_t count = 0;
         for (size_t at = s.string().find(part); at != std::string::npos;
              at = s.string().find(part, at + part.size())) {
           ++count;
         }
         return Value(count);
       }},
      {"join",
       [](Interpreter& i, const Value& s, Arguments& a) {
         Arguments join;
         join.positional = {s};
         const Value items = argument(a, 0, "");
         for (const Value& item : iterate(i, items)) need_string(item, "join");
         return filter_join(i, items, join);
       }},
      {"format", format_method},
      {"isdigit",
       [](Interpreter&, const Value& s, Arguments&) {
         return Value(all_characters(s.string(), [](uint32_t c) { return c >= '0' && c <= '9'; }));
       }},
      {"isspace",
       [](Interpreter&, const Value& s, Arguments&) {
         return Value(all_characters(
             s.string(), [](uint32_t c) { return is_whitespace(c) || (c >= 0x1C && c <= 0x1F); }));
       }},
  };
  return table;
}

Value dict_keys(Interpreter& interpreter, const Value& self, Arguments&) {
  return list_of(iterate(interpreter, self));
}

Value dict_values(Interpreter& interpreter, const Value& self, Arguments&) {
  List list;
  for (const auto& [key, item] : self.dict().items) list.items.push_back(item);
  interpreter.charge(list.items.size());
  return list;
}

Value dict_get(Interpreter& interpreter, const Value& self, Arguments& arguments) {
  interpreter.charge(self.dict().items.size());
  const Value* member = self.dict().find(argument(arguments, 0, "key"));
  if (member) return *member;
  const Value fallback = argument(arguments, 1, "default");
  return fallback.is_undefined() ? Value(None{}) : fallback;
}

Value refuse_change(Interpreter&, const Value& self, Arguments&) {
  fail(ErrorCode::invalid_input, "chat template: a {} cannot be changed", self.type_name());
}

const std::map<std::string, Method, std::less<>>& dict_methods() {
  static const std::map<std::string, Method, std::less<>> table = {
      {"items", [](Interpreter& i, const Value& s, Arguments&) { return dict_items(i, s); }},
      {"keys", dict_keys},
      {"values", dict_values},
      {"get", dict_get},
      {"copy", [](Interpreter&, const Value& s, Arguments&) { return s; }},
      {"update", refuse_change},
      {"pop", refuse_change},
      {"popitem", refuse_change},
      {"setdefault", refuse_change},
      {"clear", refuse_change},
  };
  return table;
}

const std::map<std::string, Method, std::less<>>& list_methods() {
  static const std::map<std::string, Method, std::less<>> table = {
      {"index",
       [](Interpreter& i, const Value& s, Arguments& a) {
         const auto& items = s.list().items;
         i.charge(items.size());
         const Value wanted = argument(a, 0, "");
         const auto found =
             std::find_if(items.begin(), items.end(), [&](const Value& v) { return equal(v, wanted); });
         if (found == items.end())
           fail(ErrorCode::invalid_input, "chat template: index: the value is not in the list");
         return Value(int64_t(found - items.begin()));
       }},
      {"count",
       [](Interpreter& i, const Value& s, Arguments& a) {
         const auto& items = s.list().items;
         i.charge(items.size());
         const Value wanted = argument(a, 0, "");
         return Value(int64_t(
             std::count_if(items.begin(), items.end(), [&](const Value& v) { return equal(v, wanted); })));
       }},
      {"copy", [](Interpreter&, const Value& s, Arguments&) { return s; }},
      {"append", refuse_change},
      {"extend", refuse_change},
      {"insert", refuse_change},
      {"pop", refuse_change},
      {"remove", refuse_change},
      {"clear", refuse_change},
      {"sort", refuse_change},
      {"reverse", refuse_change},
  };
  return table;
}

// --- functions ---

Value function_range(Interpreter& interpreter, Arguments& arguments) {
  const size_t count = arguments.positional.size();
  if (count == 0 || count > 3)
    fail(ErrorCode::invalid_input, "chat template: range with {} arguments", count);
  const auto at = [&](size_t i) {
    const Value& value = arguments.positional[i];
    if (!value.is_int() && !value.is_bool()) bad("range", value);
    return value.integer();
  };
  const int64_t start = count > 1 ? at(0) : 0, stop = at(count > 1 ? 1 : 0), step = count > 2 ? at(2) : 1;
  if (step == 0) fail(ErrorCode::invalid_input, "chat template: range with step 0");
  List list;
  for (int64_t value = start; step > 0 ? value < stop : value > stop;) {
    if (int64_t(list.items.size()) >= interpreter.limits().range_items) {
      fail(ErrorCode::resource, "chat template: range of more than {} items",
           interpreter.limits().range_items);
    }
    list.items.emplace_back(value);
    if (__builtin_add_overflow(value, step, &value)) break;
  }
  interpreter.charge(list.items.size());
  return list;
}

Dict dict_from(Interpreter& interpreter, const Arguments& arguments) {
  Dict dict;
  for (const Value& source : arguments.positional) {
    if (source.is_dict()) {
      for (const auto& [key, value] : source.dict().items) dict.set(key, value);
      continue;
    }
    for (const Value& pair : iterate(interpreter, source)) {
      const std::vector<Value> parts = iterate(interpreter, pair);
      if (parts.size() != 2)
        fail(ErrorCode::invalid_input, "chat template: dict from items that are no pairs");
      dict.set(parts[0], parts[1]);
    }
  }
  for (const auto& [key, value] : arguments.named) dict.set(Value(key), value);
  interpreter.charge(dict.items.size() * dict.items.size());
  return dict;
}

}  // namespace

Value apply_filter(Interpreter& interpreter, const std::string& name, const Value& input,
                   Arguments& arguments) {
  if (input.is_string()) interpreter.charge_text(input.string().size());
  if (name == "title") return Value(filter_title(interpreter.text_of(input)));
  const auto filter = filters().find(name);
  if (filter == filters().end())
    fail(ErrorCode::invalid_input, "chat template: no filter named \"{}\"", name);
  interpreter.charge(1);
  return filter->second(interpreter, input, arguments);
}

bool apply_test(Interpreter& interpreter, const std::string& name, const Value& input, Arguments& arguments) {
  const auto test = tests().find(name);
  if (test == tests().end()) fail(ErrorCode::invalid_input, "chat template: no test named \"{}\"", name);
  interpreter.charge(1);
  return test->second(input, argument(arguments, 0, ""));
}

Value find_method(const Value& object, const std::string& name) {
  const auto bind = [&](const auto& table) -> Value {
    const auto method = table.find(name);
    if (method == table.end()) return Undefined{name};
    return Function{name, [object, call = method->second](Interpreter& interpreter, Arguments& arguments) {
                      return call(interpreter, object, arguments);
                    }};
  };
  if (object.is_string()) return bind(string_methods());
  if (object.is_dict()) return object.dict().is_namespace ? Value(Undefined{name}) : bind(dict_methods());
  if (object.is_list()) return bind(list_methods());
  return Undefined{name};
}

Dict builtin_functions() {
  Dict functions;
  const auto put = [&](const char* name, std::function<Value(Interpreter&, Arguments&)> call) {
    functions.items.emplace_back(Value(name), Function{name, std::move(call)});
  };
  put("range", function_range);
  put("dict", [](Interpreter& interpreter, Arguments& arguments) -> Value {
    return dict_from(interpreter, arguments);
  });
  put("namespace", [](Interpreter& interpreter, Arguments& arguments) -> Value {
    return interpreter.make_namespace(dict_from(interpreter, arguments));
  });
  put("raise_exception", [](Interpreter& interpreter, Arguments& arguments) -> Value {
    throw Error(ErrorCode::invalid_input, interpreter.text_of(argument(arguments, 0, "message")));
  });
  return functions;
}

}  // namespace lathe::text::jinja
