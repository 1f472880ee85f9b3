// Whether a text matches a regular expression (in RE2's syntax) from its first to its last character.
#define PCRE2_CODE_UNIT_WIDTH 8

#include <pcre2.h>
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <memory>

#include "op/inference.h"
#include "op/re2_syntax.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::DType;

// PCRE2's breadth-first matcher follows all ways through the pattern at once, each at most once a character, as RE2
// does: no pattern takes exponential time. The room for those ways is bounded, too (three numbers each, twice).
constexpr size_t kWorkspace = size_t{1} << 16;
constexpr uint32_t kMatchLimit = 10'000'000;

struct Free {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};
template <class T>
using Handle = std::unique_ptr<T, Free>;

std::string message(int code) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

PCRE2_SPTR units(const std::string& text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data());
}

bool is_utf8(const std::string& text) {
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  for (size_t at = 0; at < text.size();) {
    int32_t c = 0;
    const auto length = utf8proc_iterate(bytes + at, utf8proc_ssize_t(text.size() - at), &c);
    if (length <= 0) return false;
    at += size_t(length);
  }
  return true;
}

class FullMatcher {
 public:
  explicit FullMatcher(const std::string& pattern) : workspace_(kWorkspace) {
    const std::string translated = translate_re2(pattern);
    int error = 0;
    PCRE2_SIZE offset = 0;
    code_.reset(
        pcre2_compile(units(translated), translated.size(), PCRE2_UTF | PCRE2_ANCHORED, &error, &offset, nullptr));
    if (!code_) fail(ErrorCode::unsupported, "RegexFullMatch: pattern \"{}\": {}", pattern, message(error));
    data_.reset(pcre2_match_data_create(1, nullptr));
    context_.reset(pcre2_match_context_create(nullptr));
    if (!data_ || !context_) fail(ErrorCode::resource, "RegexFullMatch: no memory to match");
    pcre2_set_match_limit(context_.get(), kMatchLimit);
  }

  bool matches(const std::string& text) {
    if (!is_utf8(text)) return false;  // no pattern has a place for a byte that is no character
    const int count = pcre2_dfa_match(code_.get(), units(text), text.size(), 0, PCRE2_NO_UTF_CHECK, data_.get(),
                                      context_.get(), workspace_.data(), workspace_.size());
    if (count == PCRE2_ERROR_NOMATCH) return false;
    if (count < 0) fail(ErrorCode::resource, "RegexFullMatch: {}", message(count));
    return pcre2_get_ovector_pointer(data_.get())[1] == text.size();  // the longest match comes first
  }

 private:
  Handle<pcre2_code> code_;
  Handle<pcre2_match_data> data_;
  Handle<pcre2_match_context> context_;
  std::vector<int> workspace_;
};

void infer_regex_full_match(InferContext& context) {
  const TypeInfo& x = require(context, 0, kString);
  translate_re2(context.attributes.get_string("pattern", ""));
  context.outputs[0] = {DType::boolean, x.shape, std::nullopt};
}

void evaluate_regex_full_match(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  FullMatcher matcher(context.attributes.get_string("pattern", ""));
  std::vector<uint64_t> results;
  for (const std::string& text : x.strings()) results.push_back(matcher.matches(text));
  context.outputs[0] = store(DType::boolean, x.dims(), results);
}

}  // namespace

const OpDef& regex_full_match_op() {
  static const OpDef def{
      .name = "RegexFullMatch",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"pattern", AttributeKind::string, true}},
      .since = 20,
      .elementwise = true,
      .infer = infer_regex_full_match,
      .evaluate = evaluate_regex_full_match,
  };
  return def;
}

}  // namespace lathe::op
