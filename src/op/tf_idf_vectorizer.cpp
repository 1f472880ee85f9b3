// How often each n-gram of a pool is in a sequence of integers or texts, with up to so many elements skipped between
// two of it; counted, marked or weighted.
#include <algorithm>
#include <map>

#include "op/attribute_lists.h"
#include "op/inference.h"
#include "op/ml.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::DType;
using tensor::Tensor;

// Elements are numbered by their place in the pool, so that integers and texts are alike.
struct Vectorizer {
  Tensor pool;
  std::map<std::vector<int64_t>, size_t> ngrams;  // positions of its elements -> which n-gram it is
  std::vector<int64_t> columns;                   // of each n-gram
  std::vector<double> weights;                    // of each n-gram, or empty
  int64_t width = 0;
  int64_t shortest = 0;
  int64_t longest = 0;
  int64_t skips = 0;
  std::string mode;
};

[[noreturn]] void refuse(const std::string& why) {
  fail(ErrorCode::invalid_input, "TfIdfVectorizer: {}", why);
}

// ngram_counts[n - 1] is where the pool's n-grams of n elements begin.
void read_ngrams(Vectorizer& v, const std::vector<int64_t>& begins) {
  const std::vector<int64_t> ids = find_keys(v.pool, v.pool);
  size_t count = 0;
  for (size_t n = 1; n <= begins.size(); ++n) {
    const int64_t begin = begins[n - 1];
    const int64_t end = n < begins.size() ? begins[n] : v.pool.size();
    if (begin < 0 || begin > end || end > v.pool.size() || (end - begin) % int64_t(n) != 0) {
      refuse(fmt::format("{}-grams from {} to {} in a pool of {}", n, begin, end, v.pool.size()));
    }
    for (int64_t i = begin; i < end; i += int64_t(n), ++count) {
      // Those of other lengths have numbers, too, but are not counted.
      if (int64_t(n) < v.shortest || int64_t(n) > v.longest) continue;
      const auto first = ids.begin() + i;
      if (!v.ngrams.emplace(std::vector<int64_t>(first, first + std::ptrdiff_t(n)), count).second) {
        refuse(fmt::format("the pool has n-gram {} twice", count));
      }
    }
  }
  require_length("TfIdfVectorizer", "ngram_indexes", v.columns.size(), int64_t(count));
}

Vectorizer read_vectorizer(const Attributes& attributes) {
  Vectorizer v;
  const Tensor numbers = list_tensor(attributes, "pool_int64s");
  const Tensor texts = list_tensor(attributes, "pool_strings");
  if (numbers.defined() == texts.defined()) refuse("expected one of pool_int64s and pool_strings");
  v.pool = numbers.defined() ? numbers : texts;
  v.shortest = attributes.get_int("min_gram_length", 0);
  v.longest = attributes.get_int("max_gram_length", 0);
  v.skips = attributes.get_int("max_skip_count", 0);
  v.mode = attributes.get_string("mode", "");
  const auto& begins = get_list<int64_t>(attributes, "ngram_counts");
  if (v.shortest < 1 || v.longest < v.shortest || v.longest > int64_t(begins.size()) || v.skips < 0) {
    refuse(fmt::format("lengths {} to {} with {} skips, ngram_counts has {} entries", v.shortest, v.longest, v.skips,
                       begins.size()));
  }
  if (v.mode != "TF" && v.mode != "IDF" && v.mode != "TFIDF") refuse(fmt::format("unknown mode \"{}\"", v.mode));
  v.columns = get_list<int64_t>(attributes, "ngram_indexes");
  for (const int64_t column : v.columns) {
    if (column < 0 || column == INT64_MAX) refuse(fmt::format("column {}", column));
    v.width = std::max(v.width, column + 1);
  }
  if (v.columns.empty()) refuse("no ngram_indexes");
  v.weights = get_list<double>(attributes, "weights");
  if (!v.weights.empty()) {
    require_length("TfIdfVectorizer", "weights", v.weights.size(), int64_t(v.columns.size()));
  }
  read_ngrams(v, begins);
  return v;
}

void infer_vectorizer(InferContext& context) {
  const TypeInfo& x = require(context, 0, kSigned | kString);
  const Vectorizer v = read_vectorizer(context.attributes);
  if ((v.pool.dtype() == DType::string) != (x.dtype == DType::string)) {
    bad(context, "the pool is {}, the input is {}", tensor::to_string(v.pool.dtype()), to_string(x));
  }
  if (x.shape.size() != 1 && x.shape.size() != 2) bad(context, "expected [C] or [N, C], found {}", to_string(x));
  tensor::Shape shape = x.shape;
  shape.back() = v.width;
  context.outputs[0] = {DType::f32, std::move(shape), std::nullopt};
}

// Counts of each n-gram in a sequence; an element that the pool does not have is -1. With s skips the elements of an
// n-gram are s + 1 apart; of a single element there is only one way.
std::vector<double> count_ngrams(const Vectorizer& v, std::span<const int64_t> sequence) {
  std::vector<double> counts(v.columns.size(), 0);
  const int64_t length = int64_t(sequence.size());
  std::vector<int64_t> ngram;
  for (int64_t n = v.shortest; n <= v.longest; ++n) {
    for (int64_t skip = 0; skip <= (n == 1 ? 0 : std::min(v.skips, length)); ++skip) {
      if (n > 1 && (length - 1) / (n - 1) < skip + 1) break;  // not even one fits
      for (int64_t start = 0; start + (n - 1) * (skip + 1) < length; ++start) {
        ngram.clear();
        for (int64_t i = 0; i < n; ++i) ngram.push_back(sequence[size_t(start + i * (skip + 1))]);
        const auto it = v.ngrams.find(ngram);
        if (it != v.ngrams.end()) ++counts[it->second];
      }
    }
  }
  return counts;
}

void evaluate_vectorizer(EvaluateContext& context) {
  const Tensor& x = context.inputs[0];
  const Vectorizer v = read_vectorizer(context.attributes);
  const int64_t length = x.dims().back();
  const int64_t rows = x.rank() == 1 ? 1 : x.dims()[0];
  const std::vector<int64_t> sequence =
      find_keys(x.dtype() == DType::string ? x : tensor::cast(x, v.pool.dtype()), v.pool);
  tensor::Dims dims = x.dims();
  dims.back() = v.width;
  std::vector<double> results(size_t(count_of(dims, 0, dims.size())), 0);
  for (int64_t row = 0; row < rows; ++row) {
    const auto counts = count_ngrams(v, std::span(sequence).subspan(size_t(row * length), size_t(length)));
    for (size_t i = 0; i < counts.size(); ++i) {
      const double weight = v.weights.empty() || v.mode == "TF" ? 1 : v.weights[i];
      const double count = v.mode == "IDF" ? std::min(counts[i], 1.0) : counts[i];
      results[size_t(row * v.width + v.columns[i])] += weight * count;
    }
  }
  context.outputs[0] = store(DType::f32, std::move(dims), results);
}

}  // namespace

const OpDef& tf_idf_vectorizer_op() {
  static const OpDef def{
      .name = "TfIdfVectorizer",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"max_gram_length", AttributeKind::integer, true},
                     {"max_skip_count", AttributeKind::integer, true},
                     {"min_gram_length", AttributeKind::integer, true},
                     {"mode", AttributeKind::string, true},
                     {"ngram_counts", AttributeKind::integers, true},
                     {"ngram_indexes", AttributeKind::integers, true},
                     {"pool_int64s", AttributeKind::integers},
                     {"pool_strings", AttributeKind::strings},
                     {"weights", AttributeKind::reals}},
      .infer = infer_vectorizer,
      .evaluate = evaluate_vectorizer,
  };
  return def;
}

}  // namespace lathe::op
