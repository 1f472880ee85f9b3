// The filters of templates.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <list>
#include <map>

#include "base/error.h"
#include "text/jinja_arguments.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_strings.h"

namespace lathe::text::jinja {
namespace {

using Filter = Value (*)(Interpreter&, const Value&, Arguments&);

// What filters that look at an "attribute" see of an item: a dotted path of keys and positions.
Value attribute_of(Interpreter& interpreter, const Value& item, const Value& path) {
  if (path.is_undefined() || path.is_none()) return item;
  if (path.is_int()) {
    if (!item.is_list()) return {};
    return slice(item, path, Value(path.integer() + 1), None{});
  }
  interpreter.charge(1 + need_string(path, "attribute").size());
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

Value filter_replace(Interpreter& interpreter, const Value& value, Arguments& arguments) {
  return replaced_text(interpreter, interpreter.text_of(value), arguments);
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

Value sorted(Interpreter& interpreter, const std::vector<Value>& items,
             const std::function<Value(const Value&)>& key_of, bool reverse) {
  std::vector<Value> keys;
  // A list's sort is stable, and safe where mixed ints and floats compare inconsistently (2^53 + 1
  // == 2.0^53).
  std::list<size_t> order;
  for (const Value& item : items) {
    order.push_back(keys.size());
    keys.push_back(key_of(item));
  }
  interpreter.charge(items.size() * 16);
  order.sort([&](size_t a, size_t b) {
    const int sign = compare(interpreter, keys[a], keys[b]);
    return reverse ? sign > 0 : sign < 0;
  });
  List list;
  for (const size_t at : order) list.items.push_back(items[at]);
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
    const auto same = [&](const Value& other) { return equal(interpreter, other, key); };
    if (std::any_of(seen.begin(), seen.end(), same)) continue;
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
    if (best.is_undefined() || compare(interpreter, key, best_key) * sign > 0) {
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

}  // namespace

Value apply_filter(Interpreter& interpreter, const std::string& name, const Value& input,
                   Arguments& arguments) {
  interpreter.charge_call(input, arguments);
  if (name == "title") return Value(filter_title(interpreter.text_of(input)));
  const auto filter = filters().find(name);
  if (filter == filters().end())
    fail(ErrorCode::invalid_input, "chat template: no filter named \"{}\"", name);
  return filter->second(interpreter, input, arguments);
}

}  // namespace lathe::text::jinja
