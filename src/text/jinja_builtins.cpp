// The tests and global functions of templates.
#include <map>

#include "base/error.h"
#include "text/jinja_arguments.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_strings.h"

namespace lathe::text::jinja {
namespace {

using Test = bool (*)(Interpreter&, const Value&, const Value&);

const std::map<std::string, Test, std::less<>>& tests() {
  static const std::map<std::string, Test, std::less<>> table = {
      {"defined", [](Interpreter&, const Value& v, const Value&) { return !v.is_undefined(); }},
      {"undefined", [](Interpreter&, const Value& v, const Value&) { return v.is_undefined(); }},
      {"none", [](Interpreter&, const Value& v, const Value&) { return v.is_none(); }},
      {"string", [](Interpreter&, const Value& v, const Value&) { return v.is_string(); }},
      {"mapping",
       [](Interpreter&, const Value& v, const Value&) { return v.is_dict() && !v.dict().is_namespace; }},
      {"iterable",
       [](Interpreter&, const Value& v, const Value&) {
         return v.is_string() || v.is_list() || v.is_undefined() || (v.is_dict() && !v.dict().is_namespace);
       }},
      {"sequence",
       [](Interpreter&, const Value& v, const Value&) {
         return v.is_string() || v.is_list() || v.is_undefined() || (v.is_dict() && !v.dict().is_namespace);
       }},
      {"number", [](Interpreter&, const Value& v, const Value&) { return v.is_number(); }},
      {"integer", [](Interpreter&, const Value& v, const Value&) { return v.is_int(); }},
      {"float", [](Interpreter&, const Value& v, const Value&) { return v.is_float(); }},
      {"boolean", [](Interpreter&, const Value& v, const Value&) { return v.is_bool(); }},
      {"true", [](Interpreter&, const Value& v, const Value&) { return v.is_bool() && v.boolean(); }},
      {"false", [](Interpreter&, const Value& v, const Value&) { return v.is_bool() && !v.boolean(); }},
      {"callable", [](Interpreter&, const Value& v, const Value&) { return v.is_function(); }},
      {"odd", [](Interpreter&, const Value& v, const Value&) { return integer_or(v, 0) % 2 != 0; }},
      {"even", [](Interpreter&, const Value& v, const Value&) { return integer_or(v, 1) % 2 == 0; }},
      {"divisibleby",
       [](Interpreter&, const Value& v, const Value& a) {
         const int64_t divisor = integer_or(a, 0);
         if (divisor == 0) fail(ErrorCode::invalid_input, "chat template: divisibleby 0");
         return divisor == -1 || integer_or(v, 1) % divisor == 0;
       }},
      {"lower",
       [](Interpreter&, const Value& v, const Value&) {
         return v.is_string() && lower(v.string()) == v.string() && upper(v.string()) != v.string();
       }},
      {"upper",
       [](Interpreter&, const Value& v, const Value&) {
         return v.is_string() && upper(v.string()) == v.string() && lower(v.string()) != v.string();
       }},
      {"eq", [](Interpreter& i, const Value& v, const Value& a) { return equal(i, v, a); }},
      {"equalto", [](Interpreter& i, const Value& v, const Value& a) { return equal(i, v, a); }},
      {"==", [](Interpreter& i, const Value& v, const Value& a) { return equal(i, v, a); }},
      {"ne", [](Interpreter& i, const Value& v, const Value& a) { return !equal(i, v, a); }},
      {"!=", [](Interpreter& i, const Value& v, const Value& a) { return !equal(i, v, a); }},
      {"lt", [](Interpreter& i, const Value& v, const Value& a) { return compare(i, v, a) < 0; }},
      {"lessthan", [](Interpreter& i, const Value& v, const Value& a) { return compare(i, v, a) < 0; }},
      {"le", [](Interpreter& i, const Value& v, const Value& a) { return compare(i, v, a) <= 0; }},
      {"gt", [](Interpreter& i, const Value& v, const Value& a) { return compare(i, v, a) > 0; }},
      {"greaterthan", [](Interpreter& i, const Value& v, const Value& a) { return compare(i, v, a) > 0; }},
      {"ge", [](Interpreter& i, const Value& v, const Value& a) { return compare(i, v, a) >= 0; }},
      {"in", [](Interpreter& i, const Value& v, const Value& a) { return contains(i, a, v); }},
      {"sameas", [](Interpreter& i, const Value& v,
                    const Value& a) { return v.type_name() == a.type_name() && equal(i, v, a); }},
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
      for (const auto& [key, value] : source.dict().items) dict.set(interpreter, key, value);
      continue;
    }
    for (const Value& pair : iterate(interpreter, source)) {
      const std::vector<Value> parts = iterate(interpreter, pair);
      if (parts.size() != 2)
        fail(ErrorCode::invalid_input, "chat template: dict from items that are no pairs");
      dict.set(interpreter, parts[0], parts[1]);
    }
  }
  for (const auto& [key, value] : arguments.named) dict.set(interpreter, Value(key), value);
  return dict;
}

}  // namespace

bool apply_test(Interpreter& interpreter, const std::string& name, const Value& input, Arguments& arguments) {
  const auto test = tests().find(name);
  if (test == tests().end()) fail(ErrorCode::invalid_input, "chat template: no test named \"{}\"", name);
  interpreter.charge_call(input, arguments);
  return test->second(interpreter, input, argument(arguments, 0, ""));
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
