// The tests and global functions of templates.
#include <map>

#include "base/error.h"
#include "text/jinja_arguments.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_strings.h"

namespace lathe::text::jinja {
namespace {

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

bool apply_test(Interpreter& interpreter, const std::string& name, const Value& input, Arguments& arguments) {
  const auto test = tests().find(name);
  if (test == tests().end()) fail(ErrorCode::invalid_input, "chat template: no test named \"{}\"", name);
  interpreter.charge(1);
  return test->second(input, argument(arguments, 0, ""));
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
