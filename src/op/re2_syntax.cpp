#include "op/re2_syntax.h"

#include <algorithm>
#include <array>
#include <set>

#include "op/re2_reader.h"

namespace lathe::op {
namespace {

constexpr int kMaxDepth = 100;
constexpr int64_t kMaxRepeat = 1000;  // RE2's, also of nested repetitions multiplied

constexpr std::string_view kDigits = "0-9";
constexpr std::string_view kSpaces = "\\t\\n\\f\\r\\x20";  // without \v, unlike PCRE2's
constexpr std::string_view kWords = "0-9A-Za-z_";

constexpr std::array<std::string_view, 38> kCategories = {
    "Any", "C", "Cc", "Cf", "Co", "Cs", "L",  "Ll", "Lm", "Lo", "Lt", "Lu", "M",  "Mc", "Me", "Mn", "N",  "Nd", "Nl",
    "No",  "P", "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S",  "Sc", "Sk", "Sm", "So", "Z",  "Zl", "Zp", "Zs", ""};
constexpr std::array<std::string_view, 14> kPosixClasses = {"alnum", "alpha", "ascii", "blank", "cntrl",
                                                            "digit", "graph", "lower", "print", "punct",
                                                            "space", "upper", "word",  "xdigit"};

std::string code_point(int32_t c) {
  return fmt::format("\\x{{{:x}}}", c);
}

// Walks the pattern once and writes PCRE2's. Every atom it writes stands for itself wherever it is put.
class Translator : private PatternReader {
 public:
  using PatternReader::PatternReader;

  std::string run() {
    int64_t repeats = 1;
    std::string result = alternation(0, repeats);
    if (!at_end()) refuse("unexpected )");
    return result;
  }

 private:
  struct Flags {
    bool fold = false;      // i
    bool lines = false;     // m
    bool dot_all = false;   // s
    bool ungreedy = false;  // U: which text matches as a whole does not depend on it
  };

  // Up to the end or the ')' that closes the group. `repeats`: the largest product of nested counts inside.
  std::string alternation(int depth, int64_t& repeats) {
    if (depth > kMaxDepth) fail(ErrorCode::unsupported, "RegexFullMatch: more than {} groups deep", kMaxDepth);
    std::string result;
    while (!at_end() && !next_is(")")) {
      if (take("|")) {
        result += '|';
        continue;
      }
      int64_t inner = 1;
      std::string item = atom(depth, inner);
      const bool is_atom = !item.empty();
      const std::string count = quantifier(is_atom, inner);
      repeats = std::max(repeats, inner);
      result += count.empty() ? item : fmt::format("(?:{}){}", item, count);
    }
    return result;
  }

  // The repetition after an atom, "" if there is none; multiplies `repeats` by its count.
  std::string quantifier(bool after_atom, int64_t& repeats) {
    const size_t begin = at_;
    std::string result = repetition(repeats);
    if (result.empty()) return result;
    if (!after_atom) {
      at_ = begin;
      refuse("nothing to repeat");
    }
    take("?");  // lazy
    int64_t ignored = 1;
    if (!repetition(ignored).empty()) refuse("a repetition of a repetition");
    return result;
  }

  std::string repetition(int64_t& repeats) {
    for (const char* op : {"*", "+", "?"}) {
      if (take(op)) return op;
    }
    const size_t begin = at_;
    int64_t least = 0, most = -1;
    if (!take("{") || !take_number(least)) return at_ = begin, "";
    const bool open = take(",");
    if (open) take_number(most);
    if (!take("}")) return at_ = begin, "";
    if (!open) most = least;
    if (least > kMaxRepeat || most > kMaxRepeat || (most >= 0 && least > most)) refuse("bad repetition count");
    repeats *= std::max<int64_t>(most >= 0 ? most : least, 1);
    if (repeats > kMaxRepeat) refuse("nested repetitions are more than 1,000");
    return most >= 0 ? fmt::format("{{{},{}}}", least, most) : fmt::format("{{{},}}", least);
  }

  std::string folded(std::string text) const { return flags_.fold ? fmt::format("(?i:{})", text) : text; }

  // "" where flags were set and nothing is to be matched.
  std::string atom(int depth, int64_t& repeats) {
    const size_t begin = at_;
    if (take("(")) return group(depth, repeats);
    if (take("[")) return folded(bracket_class());
    if (take(".")) return flags_.dot_all ? "(?s:.)" : "[^\\n]";
    // Spelled out, because PCRE2's ^ and $ treat a last newline in their own way.
    if (take("^")) return flags_.lines ? "(?<![^\\n])" : "\\A";
    if (take("$")) return flags_.lines ? "(?![^\\n])" : "\\z";
    if (take("\\")) return escape();
    int64_t ignored = 1;
    if (!repetition(ignored).empty()) {
      at_ = begin;
      refuse("nothing to repeat");
    }
    return folded(code_point(take_code_point()));
  }

  // After "(".
  std::string group(int depth, int64_t& repeats) {
    const Flags outer = flags_;
    if (take("?P<") || take("?<")) {
      if (next_is("=") || next_is("!")) refuse("no look-behind in RE2");
      group_name();
    } else if (take("?")) {
      if (!group_flags()) return "";
    }
    std::string inside = alternation(depth + 1, repeats);
    if (!take(")")) refuse("missing )");
    flags_ = outer;
    return fmt::format("(?:{})", inside);
  }

  void group_name() {
    const size_t begin = at_;
    while (!at_end() && (is_letter(pattern_[at_]) || is_digit(pattern_[at_]) || pattern_[at_] == '_')) ++at_;
    const std::string_view name = pattern_.substr(begin, at_ - begin);
    if (name.empty() || !take(">")) refuse("bad group name");
    if (!names_.insert(name).second) refuse("a group name twice");
  }

  // After "(?": true for a group that begins, false for flags up to the end of the group around.
  bool group_flags() {
    Flags flags = flags_;
    bool value = true, any = false;
    while (true) {
      if (at_end()) refuse("missing )");
      const char c = pattern_[at_++];
      if (c == 'i')
        flags.fold = value;
      else if (c == 'm')
        flags.lines = value;
      else if (c == 's')
        flags.dot_all = value;
      else if (c == 'U')
        flags.ungreedy = value;
      else if (c == '-' && value) {
        value = any = false;
        continue;
      } else if ((c == ':' || c == ')') && (any || value)) {
        flags_ = flags;
        return c == ':';
      } else {
        refuse("RE2 has no such group");
      }
      any = true;
    }
  }

  // After a backslash, outside of brackets.
  std::string escape() {
    if (take("A")) return "\\A";
    if (take("z")) return "\\z";
    if (take("b")) return "\\b";
    if (take("B")) return "\\B";
    if (take("C")) fail(ErrorCode::unsupported, "RegexFullMatch: \\C, a single byte");
    if (const std::string items = class_escape(false); !items.empty()) return folded(fmt::format("[{}]", items));
    return folded(code_point(character_escape()));
  }

  // Items of a class for \d \s \w \p and their negations (`inside` of brackets or for brackets around it), else "".
  std::string class_escape(bool inside) {
    const auto either = [&](std::string_view items, std::string_view negated) {
      return inside ? std::string(negated) : fmt::format("^{}", items);
    };
    if (take("d")) return std::string(kDigits);
    if (take("s")) return std::string(kSpaces);
    if (take("w")) return std::string(kWords);
    if (take("D")) return either(kDigits, "\\D");
    if (take("S")) return either(kSpaces, "\\S\\x0b");
    if (take("W")) return either(kWords, "\\W");
    const bool negative = next_is("P");
    if (take("p") || take("P")) return property(negative, inside);
    return "";
  }

  // After \p or \P: a letter, {Name} or {^Name}.
  std::string property(bool negative, bool inside) {
    std::string name;
    if (take("{")) {
      const size_t end = pattern_.find('}', at_);
      if (end == std::string_view::npos) refuse("missing }");
      if (take("^")) negative = !negative;
      name = pattern_.substr(at_, end - at_);
      at_ = end + 1;
    } else if (!at_end()) {
      name = pattern_[at_++];
    }
    if (name.empty() || name[0] < 'A' || name[0] > 'Z' ||
        !std::all_of(name.begin(), name.end(), [](char c) { return is_letter(c) || c == '_'; })) {
      refuse("bad name of a Unicode class");
    }
    if (name == "C") {  // without unassigned code points, unlike PCRE2's
      if (negative && inside) fail(ErrorCode::unsupported, "RegexFullMatch: \\PC in brackets");
      return fmt::format("{}\\p{{Cc}}\\p{{Cf}}\\p{{Co}}\\p{{Cs}}", negative ? "^" : "");
    }
    const bool category = std::find(kCategories.begin(), kCategories.end(), name) != kCategories.end();
    return fmt::format("\\{}{{{}{}}}", negative ? 'P' : 'p', category ? "" : "sc:", name);
  }

  // After "[".
  std::string bracket_class() {
    std::string result = take("^") ? "[^" : "[";
    for (bool first = true; first || !next_is("]"); first = false) {
      if (at_end()) refuse("missing ]");
      if (next_is("[:")) {
        if (const std::string name = posix_class(); !name.empty()) {
          result += name;
          continue;
        }
      }
      const size_t begin = at_;
      if (take("\\")) {
        if (const std::string items = class_escape(true); !items.empty()) {
          result += items;
          continue;
        }
        at_ = begin;
      }
      const int32_t low = class_character();
      result += code_point(low);
      if (next_is("-") && !next_is("-]") && at_ + 1 < pattern_.size()) {
        take("-");
        const int32_t high = class_character();
        if (high < low) refuse("a range backwards");
        result += "-" + code_point(high);
      }
    }
    take("]");
    return result + "]";
  }

  int32_t class_character() { return take("\\") ? character_escape() : take_code_point(); }

  // At "[:": the class, which PCRE2 writes alike; "" where this is no such thing.
  std::string posix_class() {
    const size_t end = pattern_.find(":]", at_ + 2);
    if (end == std::string_view::npos) return "";
    std::string_view name = pattern_.substr(at_ + 2, end - at_ - 2);
    const bool negative = name.starts_with("^");
    if (negative) name.remove_prefix(1);
    if (std::find(kPosixClasses.begin(), kPosixClasses.end(), name) == kPosixClasses.end()) {
      refuse("unknown class of characters");
    }
    at_ = end + 2;
    return fmt::format("[:{}{}:]", negative ? "^" : "", name);
  }

  Flags flags_;
  std::set<std::string_view> names_;
};

}  // namespace

std::string translate_re2(std::string_view pattern) {
  return Translator(pattern).run();
}

}  // namespace lathe::op
