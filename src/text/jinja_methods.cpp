// The methods of strings, lists and dicts in templates.
#include <algorithm>
#include <charconv>
#include <map>

#include "base/error.h"
#include "text/jinja_arguments.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_strings.h"
#include "text/utf8.h"

namespace lathe::text::jinja {
namespace {

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

bool affix(Interpreter& interpreter, const Value& self, const Value& affixes, bool start) {
  const auto one = [&](const Value& text) {
    const std::string& part = need_string(text, start ? "startswith" : "endswith");
    interpreter.charge(1);
    interpreter.charge_text(part.size());
    return start ? self.string().starts_with(part) : self.string().ends_with(part);
  };
  if (!affixes.is_list()) return one(affixes);
  return std::any_of(affixes.list().items.begin(), affixes.list().items.end(), one);
}

Value find_text(const Value& self, Arguments& arguments, bool from_right) {
  const std::string& wanted = need_string(argument(arguments, 0, "sub"), "find");
  const size_t at = from_right ? rfind_in(self.string(), wanted) : find_in(self.string(), wanted);
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
      {"startswith", [](Interpreter& i, const Value& s,
                        Arguments& a) { return Value(affix(i, s, argument(a, 0, ""), true)); }},
      {"endswith", [](Interpreter& i, const Value& s,
                      Arguments& a) { return Value(affix(i, s, argument(a, 0, ""), false)); }},
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
      {"replace",
       [](Interpreter& i, const Value& s, Arguments& a) { return replaced_text(i, s.string(), a); }},
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
         for (size_t at = find_in(s.string(), part); at != std::string::npos;
              at = find_in(s.string(), part, at + part.size())) {
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
         return apply_filter(i, "join", items, join);
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
  const Value* member = self.dict().find(interpreter, argument(arguments, 0, "key"));
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
         const Value wanted = argument(a, 0, "");
         const auto found =
             std::find_if(items.begin(), items.end(), [&](const Value& v) { return equal(i, v, wanted); });
         if (found == items.end())
           fail(ErrorCode::invalid_input, "chat template: index: the value is not in the list");
         return Value(int64_t(found - items.begin()));
       }},
      {"count",
       [](Interpreter& i, const Value& s, Arguments& a) {
         const auto& items = s.list().items;
         const Value wanted = argument(a, 0, "");
         return Value(int64_t(
             std::count_if(items.begin(), items.end(), [&](const Value& v) { return equal(i, v, wanted); })));
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

}  // namespace

Value replaced_text(Interpreter& interpreter, const std::string& text, Arguments& arguments) {
  const std::string from = need_string(argument(arguments, 0, "old"), "replace");
  const std::string to = need_string(argument(arguments, 1, "new"), "replace");
  const int64_t count = integer_or(argument(arguments, 2, "count"), -1);
  interpreter.charge_text(text.size() * (1 + to.size() / std::max<size_t>(from.size(), 1)));
  if (text.size() / std::max<size_t>(from.size(), 1) * to.size() > interpreter.limits().output_bytes) {
    fail(ErrorCode::resource, "chat template: replace makes the text too long");
  }
  return Value(replace(text, from, to, count));
}

Value dict_items(Interpreter& interpreter, const Value& value) {
  List list;
  for (const auto& [key, item] : value.dict().items) {
    list.items.push_back(List{.items = {key, item}, .tuple = true});
  }
  interpreter.charge(list.items.size());
  return list;
}

Value find_method(const Value& object, const std::string& name) {
  const auto bind = [&](const auto& table) -> Value {
    const auto method = table.find(name);
    if (method == table.end()) return Undefined{name};
    return Function{name, [object, call = method->second](Interpreter& interpreter, Arguments& arguments) {
                      interpreter.charge_call(object, arguments);
                      return call(interpreter, object, arguments);
                    }};
  };
  if (object.is_string()) return bind(string_methods());
  if (object.is_dict()) return object.dict().is_namespace ? Value(Undefined{name}) : bind(dict_methods());
  if (object.is_list()) return bind(list_methods());
  return Undefined{name};
}

}  // namespace lathe::text::jinja
