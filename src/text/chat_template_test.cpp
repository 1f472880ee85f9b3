// Chat templates against Jinja2: tests/text/template_goldens.json, made by tools/make_template_goldens.py.
#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "text/jinja_interpreter.h"

namespace lathe::text {
namespace {

const std::filesystem::path kGoldens =
    std::filesystem::path(LATHE_TESTS_DIR) / "text" / "template_goldens.json";

// 2024-07-26 09:05:03, a Friday: the moment the goldens were made for.
std::tm golden_now() {
  std::tm now = {};
  now.tm_year = 124;
  now.tm_mon = 6;
  now.tm_mday = 26;
  now.tm_hour = 9;
  now.tm_min = 5;
  now.tm_sec = 3;
  now.tm_wday = 5;
  now.tm_yday = 207;
  return now;
}

std::string render(const std::string& source, const Json& extra = Json::object()) {
  ChatTemplateOptions options;
  options.extra = extra;
  options.now = golden_now();
  return ChatTemplate(source).render(Json::array(), options);
}

ErrorCode code_of(const std::string& source) {
  try {
    render(source);
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "no error: " << source.substr(0, 100);
  return ErrorCode::internal;
}

TEST(ChatTemplate, SameAsJinja) {
  const Json goldens = read_json_file(kGoldens);
  ASSERT_GT(goldens["cases"].size(), 200u);
  for (const Json& item : goldens["cases"]) {
    SCOPED_TRACE(item["name"].get<std::string>());
    ChatTemplateOptions options;
    options.add_generation_prompt = item["prompt"].get<bool>();
    options.bos_token = "<s>";
    options.eos_token = "</s>";
    options.extra = item["extra"];
    options.now = golden_now();
    if (item["tools"].get<bool>()) options.tools = goldens["tools"];
    const std::string source = goldens["templates"][item["template"].get<std::string>()];
    const Json& messages = goldens["chats"][item["chat"].get<std::string>()];
    if (item.contains("output")) {
      try {
        EXPECT_EQ(ChatTemplate(source).render(messages, options), item["output"].get<std::string>());
      } catch (const Error& error) {
        ADD_FAILURE() << error.what();
      }
      continue;
    }
    try {
      ADD_FAILURE() << "no error, but " << ChatTemplate(source).render(messages, options);
    } catch (const Error& error) {
      EXPECT_TRUE(error.code() == ErrorCode::invalid_input || error.code() == ErrorCode::resource)
          << error.what();
      const std::string message = item["error"].get<std::string>();
      if (!message.empty()) {
        EXPECT_EQ(error.message(), message);
      }
    }
  }
}

TEST(ChatTemplate, MessageOfTheTemplate) {
  try {
    render("{{ raise_exception('No system role') }}");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    EXPECT_EQ(error.message(), "No system role");
  }
}

TEST(ChatTemplate, TimeIsTheCallers) {
  EXPECT_EQ(render("{{ strftime_now('%d %b %Y %H:%M') }}"), "26 Jul 2024 09:05");
}

TEST(ChatTemplate, LimitsHold) {
  const std::string nested_loops =
      "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% "
      "endfor %}{% endfor %}";
  EXPECT_EQ(code_of(nested_loops), ErrorCode::resource);
  EXPECT_EQ(
      code_of(
          "{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}"),
      ErrorCode::resource);
  EXPECT_EQ(
      code_of(
          "{% set ns = namespace(l=[1]) %}{% for i in range(99) %}{% set ns.l = ns.l + ns.l %}{% endfor %}"),
      ErrorCode::resource);
  EXPECT_EQ(
      code_of("{% set ns = namespace(l=[]) %}{% for i in range(9999) %}{% set ns.l = [ns.l] %}{% endfor %}"),
      ErrorCode::resource);
  EXPECT_EQ(code_of("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"), ErrorCode::resource);
  EXPECT_EQ(code_of("{{ 'x' * 999999999999 }}"), ErrorCode::resource);
  EXPECT_EQ(code_of("{{ [1] * 999999999999 }}"), ErrorCode::resource);
  EXPECT_EQ(code_of("{{ " + std::string(100'000, '(') + "1" + std::string(100'000, ')') + " }}"),
            ErrorCode::invalid_input);
  std::string sum = "{{ 1";
  for (int i = 0; i < 100'000; ++i) sum += "+1";
  EXPECT_EQ(code_of(sum + " }}"), ErrorCode::invalid_input);
  std::string ifs;
  for (int i = 0; i < 100'000; ++i) ifs += "{% if 1 %}";
  EXPECT_EQ(code_of(ifs), ErrorCode::invalid_input);
}

TEST(ChatTemplate, ComparingCostsSteps) {
  // Lists that share their parts: as text, or compared element by element, 2^60 elements.
  const auto shared = [](const std::string& what, const std::string& step = "[ns.{0}, ns.{0}]") {
    std::string text = "{% set ns = namespace(x=[], y=[], z=1) %}{% for i in range(60) %}";
    for (const char* name : {"x", "y"})
      text += "{% set ns." + std::string(name) + " = " + fmt::format(fmt::runtime(step), name) + " %}";
    return text + "{% endfor %}{{ " + what + " }}";
  };
  for (const char* what :
       {"ns.x == ns.y", "ns.x != ns.y", "ns.x < ns.y", "ns.x in [ns.y]", "[ns.y].index(ns.x)",
        "[ns.y].count(ns.x)", "[ns.x, ns.y]|unique|list|length", "[ns.x, ns.y]|sort|length",
        "ns.x is eq(ns.y)", "ns.x is sameas(ns.y)", "ns.x is in([ns.y])", "[ns.x, ns.y]|max",
        "{'a': ns.x} == {'a': ns.y}", "{ns.x: 1, ns.y: 2}|length", "dict([(ns.x, 1), (ns.y, 2)])",
        "ns.x|string|length"}) {
    EXPECT_EQ(code_of(shared(what)), ErrorCode::resource) << what;
  }
  EXPECT_EQ(code_of(shared("ns.x == ns.y", "{{'a': ns.{0}, 'b': ns.{0}}}")), ErrorCode::resource);
  EXPECT_EQ(render(shared("ns.x == ns.x")), "True");
  EXPECT_EQ(render(shared("ns.x in [ns.x]")), "True");
  std::string names = "{% set d = {";
  for (int i = 0; i < 20'000; ++i) names += fmt::format("'k{}': 1, ", i);
  EXPECT_EQ(code_of(names + "} %}"), ErrorCode::resource);
}

TEST(ChatTemplate, LookingAtTextCostsSteps) {
  // Whatever looks at a text of 1 MB pays about 65,000 steps for it; without, the loop would take 2,000.
  const std::string long_text =
      "{% set t = 'ab' * 500000 %}{% set u = 'ab' * 500000 %}{% for i in range(200) %}{% if ";
  for (const char* look : {"t.upper()",
                           "t.lower()",
                           "t.strip()",
                           "t.title()",
                           "t.capitalize()",
                           "t.find('c')",
                           "t.rfind('c')",
                           "t.count('c')",
                           "t.startswith(u)",
                           "t.endswith(u)",
                           "t.removeprefix('c')",
                           "t.isdigit()",
                           "t is lower",
                           "t is upper",
                           "t is eq(u)",
                           "t == u",
                           "t < u",
                           "t|length",
                           "'c' in t",
                           "t in [u]",
                           "t|string",
                           "t|trim",
                           "t|int",
                           "t[-1]",
                           "'b'.startswith([u, u])",
                           "''.strip(t)"}) {
    const jinja::Block block = jinja::parse_template(long_text + look + " %}{% endif %}{% endfor %}");
    jinja::Interpreter interpreter({.steps = 1'000'000}, jinja::builtin_functions());
    try {
      interpreter.render(block);
      ADD_FAILURE() << look;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::resource) << look;
    }
  }
}

TEST(ChatTemplate, SearchIsLinear) {
  // A search takes time by the sum of the lengths, not by their product.
  for (const char* look : {"t.find(n)", "t.rfind(m)", "t.count(n)", "n in t", "t.split(n)|length",
                           "t.rsplit(m)|length", "t.replace(n, '')|length", "t.strip(s)|length"}) {
    EXPECT_NO_THROW(
        render("{% set t = 'a' * 2000000 %}{% set n = 'a' * 500000 + 'b' %}{% set m = 'b' + 'a' * 500000 %}"
               "{% set s = 'b' * 500000 %}{{ " +
               std::string(look) + " }}"))
        << look;
  }
}

TEST(ChatTemplate, NamespacesMayFormACycle) {
  EXPECT_EQ(render("{% set a = namespace() %}{% set b = namespace(o=a) %}{% set a.o = b %}{% set a.l = [a] %}"
                   "{{ a == b }}{{ a.o.o == a }}"),
            "FalseTrue");
}

TEST(ChatTemplate, UnsupportedStatementsAreNamed) {
  EXPECT_EQ(code_of("{% include 'x' %}"), ErrorCode::unsupported);
  EXPECT_EQ(code_of("{% extends 'x' %}"), ErrorCode::unsupported);
}

}  // namespace
}  // namespace lathe::text
