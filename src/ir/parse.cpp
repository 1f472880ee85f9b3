#include "base/checked.h"
#include "base/error.h"
#include "ir/body.h"
#include "ir/literals.h"
#include "ir/text_reader.h"

namespace lathe::ir {
namespace {

constexpr size_t kMaxRank = 64;
constexpr size_t kMaxOutputs = 4096;
constexpr int kMaxDepth = 32;

// Reads one graph; bodies of nodes nest, up to a depth.
class Parser : private TextReader {
 public:
  Parser(std::string_view text, const ConstantResolver& resolve) : TextReader(text), resolve_(resolve) {}

  Graph parse() {
    try {
      return graph();
    } catch (Error& error) {
      error.add_context(fmt::format("line {}", line()));  // with_context would need the number beforehand
      throw;
    }
  }

 private:
  Graph graph() {
    expect_word("graph");
    Graph result = graph_body();
    skip_space();
    if (at_ < text_.size()) fail(ErrorCode::invalid_input, "text after the end of the graph");
    return result;
  }

  // What follows the word "graph".
  Graph graph_body() {
    if (++depth_ > kMaxDepth) fail(ErrorCode::invalid_input, "graphs nested deeper than {}", kMaxDepth);
    Graph result(name());
    expect('{');
    while (!accept('}')) statement(result);
    --depth_;
    return result;
  }

  void statement(Graph& graph) {
    skip_space();
    if (peek() == '%') return node_statement(graph);
    const std::string keyword = word();
    if (keyword == "input") {
      const std::string name = fresh_name(graph);
      expect(':');
      graph.add_input(name, type());
    } else if (keyword == "const") {
      constant_statement(graph);
    } else if (keyword == "output") {
      const Value value = operand(graph);
      if (!value) fail(ErrorCode::invalid_input, "an output cannot be absent");
      graph.add_output(value, std::string(graph.name(value)));
    } else {
      fail(ErrorCode::invalid_input, "expected input, const, output or a node, found \"{}\"", keyword);
    }
  }

  void constant_statement(Graph& graph) {
    const std::string name = fresh_name(graph);
    expect(':');
    const op::TypeInfo declared = type();
    const auto dims = tensor::to_dims(declared.shape);
    if (!dims) fail(ErrorCode::invalid_input, "constant %{}: its dimensions must be numbers", name);
    expect('=');
    skip_space();
    std::string source_name = name;
    tensor::SourcePtr source;
    if (peek() != '"') {
      tensor::Tensor tensor = elements(declared.dtype, *dims);
      skip_space();
      if (peek() == '"') source_name = string();
      source = tensor::memory_source(std::move(tensor), source_name);
    } else {
      source_name = string();
      source = resolved(source_name, declared.dtype, *dims);
    }
    const Value value = graph.add_constant(source_name, std::move(source));
    if (graph.source_name(value) != source_name) {
      fail(ErrorCode::invalid_input, "constant \"{}\" is there twice", source_name);
    }
    graph.rename(value, name);
  }

  tensor::SourcePtr resolved(const std::string& name, tensor::DType dtype, const tensor::Dims& dims) {
    const std::string encoding_name = word();
    const auto encoding = tensor::find_encoding(encoding_name);
    if (!encoding) fail(ErrorCode::invalid_input, "no encoding is called \"{}\"", encoding_name);
    if (!resolve_) fail(ErrorCode::not_found, "constant \"{}\" is not in the text", name);
    tensor::SourcePtr source = resolve_(name, dtype, *encoding, dims);
    const bool fits =
        source && source->dtype() == dtype && source->encoding() == *encoding && source->dims() == dims;
    if (!fits) fail(ErrorCode::invalid_input, "constant \"{}\" is not what its line declares", name);
    return source;
  }

  void node_statement(Graph& graph) {
    std::vector<std::string> names;
    std::vector<std::optional<op::TypeInfo>> types;
    do {
      names.push_back(fresh_name(graph));
      types.push_back(accept(':') ? std::optional(type()) : std::nullopt);
      if (names.size() > kMaxOutputs) fail(ErrorCode::invalid_input, "more than {} results", kMaxOutputs);
    } while (accept(','));
    expect('=');
    const std::string op = word();
    expect('(');
    std::vector<Value> inputs;
    while (!accept(')')) {
      if (!inputs.empty()) expect(',');
      inputs.push_back(operand(graph));
    }
    op::Attributes attributes;
    if (accept('{')) attributes = attribute_list();
    skip_space();
    const std::string node_name = peek() == '"' ? string() : "";
    const NodeId id =
        graph.add_node(op, std::move(inputs), std::move(attributes), node_name, int(names.size()));
    set_results(graph, id, names, types);
  }

  static bool same_type(const op::TypeInfo& a, const op::TypeInfo& b) {
    return a.dtype == b.dtype && a.shape == b.shape && a.form == b.form && a.ranked == b.ranked;
  }

  static void set_results(Graph& graph, NodeId id, const std::vector<std::string>& names,
                          const std::vector<std::optional<op::TypeInfo>>& types) {
    const std::vector<Value> outputs = graph.node(id).outputs;
    for (const Value output : outputs) graph.rename(output, "");  // make way for a name that one of them has
    for (size_t i = 0; i < names.size(); ++i) {
      graph.rename(outputs[i], names[i]);
      if (graph.name(outputs[i]) != names[i]) {
        fail(ErrorCode::invalid_input, "%{} is defined twice", names[i]);
      }
    }
    for (size_t i = 0; i < names.size(); ++i) {
      const op::TypeInfo& found = graph.type(outputs[i]);
      if (types[i] && !same_type(*types[i], found)) {
        fail(ErrorCode::invalid_input, "%{}: declared {}, inferred {}", names[i], op::to_string(*types[i]),
             op::to_string(found));
      }
    }
  }

  op::Attributes attribute_list() {
    op::Attributes attributes;
    while (!accept('}')) {
      if (!attributes.empty()) expect(',');
      const std::string name = this->name();
      if (attributes.has(name)) fail(ErrorCode::invalid_input, "attribute \"{}\" is there twice", name);
      expect('=');
      attributes.set(name, attribute());
    }
    return attributes;
  }

  op::AttributeValue attribute() {
    skip_space();
    if (peek() == '"') return string();
    if (peek() == '[') return list();
    const std::string_view token = number_token();
    if (token == "tensor") {
      const op::TypeInfo declared = type();
      const auto dims = tensor::to_dims(declared.shape);
      if (!dims) fail(ErrorCode::invalid_input, "a tensor's dimensions must be numbers");
      return elements(declared.dtype, *dims);
    }
    if (token == "graph") return op::SubgraphPtr(std::make_shared<const Body>(graph_body()));
    if (token == "ints") return empty_list<int64_t>();
    if (token == "floats") return empty_list<double>();
    if (token == "strings") return empty_list<std::string>();
    if (const auto integer = as<int64_t>(token)) return *integer;
    if (const auto real = as<double>(token)) return *real;
    fail(ErrorCode::invalid_input, "expected an attribute's value, found \"{}\"", token);
  }

  template <class T>
  std::vector<T> empty_list() {
    expect('[');
    expect(']');
    return {};
  }

  // The first element decides the kind.
  op::AttributeValue list() {
    expect('[');
    skip_space();
    if (peek() == '"') return list_of<std::string>([this] { return string(); });
    const size_t start = at_;
    const bool integers = as<int64_t>(number_token()).has_value();
    at_ = start;
    if (integers) return list_of<int64_t>([this] { return number<int64_t>("an integer"); });
    return list_of<double>([this] { return number<double>("a number"); });
  }

  template <class T, class Read>
  std::vector<T> list_of(Read read) {
    std::vector<T> values;
    do {
      skip_space();
      values.push_back(read());
    } while (accept(','));
    expect(']');
    return values;
  }

  // "{1, 2}" or "hex 00ff". Memory is taken after the text has shown as many elements as the dims promise.
  tensor::Tensor elements(tensor::DType dtype, const tensor::Dims& dims) {
    const int64_t count = tensor::element_count(std::span<const int64_t>(dims));
    skip_space();
    if (peek() != '{') {
      expect_word("hex");
      skip_space();
      const std::string digits = peek() == '"' ? string() : std::string(number_token());
      if (has_literals(dtype)) fail(ErrorCode::invalid_input, "{} is written as numbers", to_string(dtype));
      if (tensor::byte_size(dtype, count) * 2 != digits.size()) {
        fail(ErrorCode::invalid_input, "expected {} elements, found {} digits", count, digits.size());
      }
      tensor::Tensor tensor(dtype, dims);
      parse_hex(tensor, digits);
      return tensor;
    }
    expect('{');
    std::vector<std::string> tokens;
    while (!accept('}')) {
      if (!tokens.empty()) expect(',');
      skip_space();
      tokens.push_back(peek() == '"' ? string() : std::string(number_token()));
    }
    if (int64_t(tokens.size()) != count) {
      fail(ErrorCode::invalid_input, "expected {} elements, found {}", count, tokens.size());
    }
    if (dtype == tensor::DType::string) return tensor::Tensor::of_strings(dims, std::move(tokens));
    if (!has_literals(dtype)) fail(ErrorCode::invalid_input, "{} is written as hex", to_string(dtype));
    tensor::Tensor tensor(dtype, dims);
    for (int64_t i = 0; i < count; ++i) parse_element(tensor, i, tokens[size_t(i)]);
    return tensor;
  }

  tensor::DType element_type() {
    if (accept('?')) return tensor::DType::undefined;
    const std::string name = word();
    const auto dtype = tensor::find_dtype(name);
    if (!dtype) fail(ErrorCode::invalid_input, "no type is called \"{}\"", name);
    return *dtype;
  }

  // "sequence(f32)", "optional(f32)", "optional(sequence(f32))": the word in front is read.
  op::TypeInfo form_type(const std::string& form) {
    expect('(');
    op::TypeInfo result = op::TypeInfo::sequence(tensor::DType::undefined);
    result.form = form == "sequence" ? op::Form::sequence : op::Form::optional_tensor;
    skip_space();
    if (form == "optional" && text_.substr(at_).starts_with("sequence")) {
      expect_word("sequence");
      expect('(');
      result.form = op::Form::optional_sequence;
    }
    result.dtype = element_type();
    expect(')');
    if (result.form == op::Form::optional_sequence) expect(')');
    return result;
  }

  op::TypeInfo type() {
    if (accept('?')) return op::TypeInfo::unranked(tensor::DType::undefined);
    const std::string dtype_name = word();
    if (dtype_name == "sequence" || dtype_name == "optional") return form_type(dtype_name);
    const auto dtype = tensor::find_dtype(dtype_name);
    if (!dtype) fail(ErrorCode::invalid_input, "no type is called \"{}\"", dtype_name);
    op::TypeInfo result{*dtype, {}, std::nullopt};
    if (text_.substr(at_).starts_with("[...]")) {
      at_ += 5;
      return op::TypeInfo::unranked(*dtype);
    }
    expect('[');
    const size_t end = text_.find(']', at_);
    if (end == std::string_view::npos) fail(ErrorCode::invalid_input, "expected ']'");
    std::string_view dims = text_.substr(at_, end - at_);
    while (!dims.empty()) {
      const size_t comma = std::min(dims.find(','), dims.size());
      result.shape.push_back(tensor::Dim::parse(dims.substr(0, comma)));
      const bool more = comma < dims.size();
      dims.remove_prefix(std::min(comma + 1, dims.size()));
      if (more && dims.empty()) fail(ErrorCode::invalid_input, "expected a dimension after ','");
      if (result.shape.size() > kMaxRank) fail(ErrorCode::invalid_input, "rank above {}", kMaxRank);
      const auto number = result.shape.back().constant();
      if (number && *number < 0) fail(ErrorCode::invalid_input, "negative dimension {}", *number);
    }
    at_ = end + 1;
    return result;
  }

  Value operand(const Graph& graph) {
    skip_space();
    if (peek() == '_') {
      ++at_;
      return {};
    }
    const std::string name = value_name();
    const auto value = graph.find(name);
    if (!value) fail(ErrorCode::invalid_input, "%{} is not defined", name);
    return *value;
  }

  std::string fresh_name(const Graph& graph) {
    std::string name = value_name();
    if (graph.find(name)) fail(ErrorCode::invalid_input, "%{} is defined twice", name);
    return name;
  }

  std::string value_name() {
    expect('%');
    std::string text = peek() == '"' ? string() : std::string(name_token());
    if (text.empty()) fail(ErrorCode::invalid_input, "expected a name after %");
    return text;
  }

  const ConstantResolver& resolve_;
  int depth_ = 0;
};

}  // namespace

Graph parse(std::string_view text, const ConstantResolver& resolve) {
  return Parser(text, resolve).parse();
}

}  // namespace lathe::ir
