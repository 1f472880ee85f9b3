#include "io/torch_pickle.h"

#include <algorithm>
#include <bit>
#include <unordered_map>

#include "base/checked.h"
#include "io/torch_globals.h"

namespace lathe::io {
namespace {

using tensor::DType;

constexpr size_t kMostValues = 4'000'000;      // some 400 MB of memory
constexpr size_t kLongest = size_t{64} << 20;  // bytes; a checkpoint of 10,000 tensors has 3 MB
constexpr uint8_t kNewestProtocol = 5;

// pickletools' names and codes; those that torch.save emits.
enum Opcode : uint8_t {
  MARK = '(',
  STOP = '.',
  BININT = 'J',
  BININT1 = 'K',
  BININT2 = 'M',
  NONE = 'N',
  BINPERSID = 'Q',
  REDUCE = 'R',
  SHORT_BINSTRING = 'U',
  BINUNICODE = 'X',
  APPEND = 'a',
  BUILD = 'b',
  GLOBAL = 'c',
  APPENDS = 'e',
  BINGET = 'h',
  LONG_BINGET = 'j',
  BINPUT = 'q',
  LONG_BINPUT = 'r',
  SETITEM = 's',
  TUPLE = 't',
  SETITEMS = 'u',
  EMPTY_LIST = ']',
  EMPTY_DICT = '}',
  EMPTY_TUPLE = ')',
  BINFLOAT = 'G',
  PROTO = 0x80,
  NEWOBJ = 0x81,
  TUPLE1 = 0x85,
  TUPLE2 = 0x86,
  TUPLE3 = 0x87,
  NEWTRUE = 0x88,
  NEWFALSE = 0x89,
  LONG1 = 0x8a,
  EMPTY_SET = 0x8f,
};

std::string_view to_string(PickleKind kind) {
  // In the order of the enum.
  static constexpr std::string_view kNames[] = {"None",   "a bool",    "an int",   "a long int", "a float",
                                                "a str",  "a tuple",   "a list",   "a dict",     "a set",
                                                "a name", "a storage", "a tensor", "an object"};
  return kNames[size_t(kind)];
}

class Unpickler {
 public:
  explicit Unpickler(ByteReader& reader) : reader_(reader) {}

  Pickle run() {
    const size_t start = reader_.position();
    while (true) {
      const size_t at = reader_.position();
      if (at - start > kLongest || std::max({stack_.size(), marks_.size(), memo_.size()}) > kMostValues) {
        fail(ErrorCode::invalid_input, "the pickle is larger than {} bytes or {} values", kLongest, kMostValues);
      }
      const uint8_t opcode = reader_.u8();
      if (opcode == STOP) break;
      if (!constant(opcode) && !container(opcode) && !memo(opcode) && !object(opcode)) {
        fail(ErrorCode::invalid_input, "the pickle has opcode {:#04x} at byte {}, which no checkpoint has", opcode, at);
      }
    }
    pickle_.root = pop();
    return std::move(pickle_);
  }

 private:
  // --- the stack
  PickleId push(PickleValue value) {
    if (pickle_.values.size() >= kMostValues) {
      fail(ErrorCode::invalid_input, "the pickle makes more than {} values", kMostValues);
    }
    pickle_.values.push_back(std::move(value));
    stack_.push_back(PickleId(pickle_.values.size() - 1));
    return stack_.back();
  }
  PickleId push(PickleKind kind, uint32_t index = 0) {
    PickleValue value;
    value.kind = kind;
    value.index = index;
    return push(std::move(value));
  }
  PickleId pop() {
    if (stack_.empty() || (!marks_.empty() && stack_.size() == marks_.back())) {
      fail(ErrorCode::invalid_input, "the pickle takes a value that it has not made");
    }
    const PickleId id = stack_.back();
    stack_.pop_back();
    return id;
  }
  PickleId top() {
    const PickleId id = pop();
    stack_.push_back(id);
    return id;
  }
  // What was pushed since the last mark.
  std::vector<PickleId> pop_to_mark() {
    if (marks_.empty()) fail(ErrorCode::invalid_input, "the pickle takes values from a mark that is not there");
    const auto first = stack_.begin() + std::ptrdiff_t(marks_.back());
    std::vector<PickleId> items(first, stack_.end());
    stack_.erase(first, stack_.end());
    marks_.pop_back();
    return items;
  }
  std::vector<PickleId> pop_some(size_t count) {
    std::vector<PickleId> items(count);
    for (size_t i = count; i-- > 0;) items[i] = pop();
    return items;
  }
  PickleValue& at(PickleId id) { return pickle_.values[id]; }

  // The value as one of a kind.
  PickleValue& get(PickleId id, PickleKind kind, std::string_view what) {
    if (at(id).kind != kind) {
      fail(ErrorCode::invalid_input, "{}: expected {}, found {}", what, to_string(kind), to_string(at(id).kind));
    }
    return at(id);
  }

  // --- opcodes, by groups; false: none of the group
  bool constant(uint8_t opcode) {
    PickleValue value;
    switch (opcode) {
      case NONE:
        break;
      case NEWTRUE:
      case NEWFALSE:
        value.kind = PickleKind::boolean;
        value.integer = opcode == NEWTRUE;
        break;
      case BININT:
        value.kind = PickleKind::integer;
        value.integer = int32_t(reader_.u32());
        break;
      case BININT1:
        value.kind = PickleKind::integer;
        value.integer = reader_.u8();
        break;
      case BININT2:
        value.kind = PickleKind::integer;
        value.integer = reader_.u16();
        break;
      case LONG1:
        value = long_integer(reader_.text(reader_.u8()));
        break;
      case BINFLOAT: {  // the one number that is big-endian
        value.kind = PickleKind::real;
        value.real = std::bit_cast<double>(__builtin_bswap64(reader_.u64()));
        break;
      }
      case BINUNICODE:
        value.kind = PickleKind::text;
        value.text = reader_.text(reader_.u32());
        break;
      case SHORT_BINSTRING:
        value.kind = PickleKind::text;
        value.text = reader_.text(reader_.u8());
        break;
      default:
        return false;
    }
    push(std::move(value));
    return true;
  }

  // Two's complement, the lowest byte first.
  static PickleValue long_integer(std::string_view bytes) {
    PickleValue value;
    value.kind = bytes.size() <= 8 ? PickleKind::integer : PickleKind::big_integer;
    value.text = bytes;
    if (value.kind == PickleKind::big_integer || bytes.empty()) return value;
    uint64_t number = uint8_t(bytes.back()) >= 0x80 ? ~uint64_t{0} : 0;
    for (size_t i = bytes.size(); i-- > 0;) number = number << 8 | uint8_t(bytes[i]);
    value.integer = int64_t(number);
    return value;
  }

  void push_items(PickleKind kind, std::vector<PickleId> items) { at(push(kind)).items = std::move(items); }

  void append(PickleKind kind, std::vector<PickleId> items, std::string_view what) {
    PickleValue& into = get(top(), kind, what);
    if (kind == PickleKind::dict && items.size() % 2 != 0) {
      fail(ErrorCode::invalid_input, "the pickle puts a key without a value into a dict");
    }
    into.items.insert(into.items.end(), items.begin(), items.end());
  }

  bool container(uint8_t opcode) {
    switch (opcode) {
      case MARK:
        marks_.push_back(stack_.size());
        return true;
      case EMPTY_TUPLE:
        push(PickleKind::tuple);
        return true;
      case EMPTY_LIST:
        push(PickleKind::list);
        return true;
      case EMPTY_DICT:
        push(PickleKind::dict);
        return true;
      case EMPTY_SET:
        push(PickleKind::set);
        return true;
      case TUPLE:
        push_items(PickleKind::tuple, pop_to_mark());
        return true;
      case TUPLE1:
      case TUPLE2:
      case TUPLE3:
        push_items(PickleKind::tuple, pop_some(size_t(opcode - TUPLE1) + 1));
        return true;
      case APPEND:
      case APPENDS: {
        std::vector<PickleId> items = opcode == APPEND ? pop_some(1) : pop_to_mark();
        append(PickleKind::list, std::move(items), "what the pickle appends to");
        return true;
      }
      case SETITEM:
      case SETITEMS: {
        std::vector<PickleId> items = opcode == SETITEM ? pop_some(2) : pop_to_mark();
        append(PickleKind::dict, std::move(items), "what the pickle sets an item of");
        return true;
      }
      default:
        return false;
    }
  }

  bool memo(uint8_t opcode) {
    switch (opcode) {
      case PROTO:
        if (const uint8_t protocol = reader_.u8(); protocol > kNewestProtocol) {
          fail(ErrorCode::unsupported, "a pickle of protocol {}", protocol);
        }
        return true;
      case BINPUT:
      case LONG_BINPUT:
        memo_[opcode == BINPUT ? reader_.u8() : reader_.u32()] = top();
        return true;
      case BINGET:
      case LONG_BINGET: {
        const uint32_t key = opcode == BINGET ? reader_.u8() : reader_.u32();
        const auto found = memo_.find(key);
        if (found == memo_.end()) fail(ErrorCode::invalid_input, "the pickle recalls value {}, never stored", key);
        stack_.push_back(found->second);
        return true;
      }
      default:
        return false;
    }
  }

  bool object(uint8_t opcode) {
    switch (opcode) {
      case GLOBAL:
        global();
        return true;
      case REDUCE:
      case NEWOBJ: {
        const PickleId arguments = pop();
        const PickleId function = pop();
        call(function, arguments);
        return true;
      }
      case BUILD:  // attributes of an object: no weights are kept in them
        pop();
        top();
        return true;
      case BINPERSID:
        storage(pop());
        return true;
      default:
        return false;
    }
  }

  std::string_view line() {
    const size_t left = reader_.left();
    ByteReader ahead = reader_;
    size_t length = 0;
    while (length < left && ahead.u8() != '\n') ++length;
    const std::string_view text = reader_.text(length);
    reader_.skip(1);
    return text;
  }

  void global() {
    const std::string_view module = line();
    const std::string_view name = line();
    const auto index = find_torch_global(module, name);
    if (!index) {
      fail(ErrorCode::invalid_input,
           "the pickle asks for {}.{}, which weights have no use for: it may be malicious (nothing was executed)",
           module, name);
    }
    push(PickleKind::global, *index);
  }

  // --- calls
  void call(PickleId function, PickleId arguments) {
    const TorchGlobal& global = torch_global(get(function, PickleKind::global, "what the pickle calls").index);
    const std::vector<PickleId>& items = get(arguments, PickleKind::tuple, "the arguments of a call").items;
    switch (global.kind) {
      case GlobalKind::dict:
        push(PickleKind::dict);
        return;
      case GlobalKind::set:
        push(PickleKind::set);
        return;
      case GlobalKind::size:
      case GlobalKind::parameter:
        if (items.empty()) fail_arguments(global, items);
        stack_.push_back(items[0]);
        return;
      case GlobalKind::tensor:
      case GlobalKind::typed_tensor:
        tensor(global, items);
        return;
      case GlobalKind::from_type:
        if (items.size() < 3) fail_arguments(global, items);
        if (at(items[0]).kind == PickleKind::global && torch_global(at(items[0]).index).kind == GlobalKind::from_type) {
          fail_arguments(global, items);  // of itself, without end
        }
        call(items[0], items[2]);
        return;
      case GlobalKind::no_dense_array:
        fail_array(global);
      case GlobalKind::storage:
      case GlobalKind::dtype:
      case GlobalKind::other:
        push(PickleKind::other);
        return;
    }
  }

  [[noreturn]] void fail_arguments(const TorchGlobal& global, const std::vector<PickleId>& items) {
    std::string found;
    for (const PickleId id : items) found += (found.empty() ? "" : ", ") + std::string(to_string(at(id).kind));
    fail(ErrorCode::invalid_input, "{}.{} is called with ({})", global.module, global.name, found);
  }

  [[noreturn]] static void fail_array(const TorchGlobal& global) {
    fail(ErrorCode::unsupported, "tensors of {}.{} are not read, dense arrays are", global.module, global.name);
  }

  tensor::Dims numbers(PickleId id, std::string_view what) {
    const PickleValue& tuple = get(id, PickleKind::tuple, what);
    tensor::Dims values;
    for (const PickleId item : tuple.items) values.push_back(natural(item, what));
    return values;
  }
  int64_t natural(PickleId id, std::string_view what) {
    const int64_t value = get(id, PickleKind::integer, what).integer;
    if (value < 0) fail(ErrorCode::invalid_input, "{}: {} is negative", what, value);
    return value;
  }

  void tensor(const TorchGlobal& global, const std::vector<PickleId>& items) {
    const bool typed = global.kind == GlobalKind::typed_tensor;
    if (items.size() < (typed ? 7 : 4)) fail_arguments(global, items);
    PickleTensor made;
    made.storage = get(items[0], PickleKind::storage, "a tensor's storage").index;
    made.dtype = pickle_.storages[made.storage].dtype;
    if (typed) {
      const TorchGlobal& type = torch_global(get(items[6], PickleKind::global, "a tensor's type").index);
      if (type.kind != GlobalKind::dtype) fail_arguments(global, items);
      made.dtype = type.dtype;
    }
    made.offset = natural(items[1], "a tensor's offset");
    made.dims = numbers(items[2], "a tensor's size");
    made.strides = numbers(items[3], "a tensor's stride");
    if (made.dims.size() != made.strides.size()) {
      fail(ErrorCode::invalid_input, "a tensor of {} dimensions has {} strides", made.dims.size(), made.strides.size());
    }
    pickle_.tensors.push_back(std::move(made));
    push(PickleKind::tensor, uint32_t(pickle_.tensors.size() - 1));
  }

  // ('storage', type, key, place, elements[, view]); the view, of old files: None or (key, offset, elements).
  void storage(PickleId id) {
    const std::vector<PickleId>& items = get(id, PickleKind::tuple, "a persistent id").items;
    if (items.size() < 5 || get(items[0], PickleKind::text, "a persistent id").text != "storage") {
      fail(ErrorCode::invalid_input, "a persistent id that is none of a storage");
    }
    const TorchGlobal& type = torch_global(get(items[1], PickleKind::global, "a storage's type").index);
    if (type.kind == GlobalKind::no_dense_array) fail_array(type);
    if (type.kind != GlobalKind::storage) {
      fail(ErrorCode::invalid_input, "a storage of type {}.{}", type.module, type.name);
    }
    PickleStorage made;
    made.dtype = type.dtype;
    made.key = get(items[2], PickleKind::text, "a storage's key").text;
    made.elements = natural(items[4], "a storage's size");
    if (items.size() > 5 && at(items[5]).kind != PickleKind::none) {
      const std::vector<PickleId>& view = get(items[5], PickleKind::tuple, "a storage's view").items;
      if (view.size() != 3) fail(ErrorCode::invalid_input, "a storage's view of {} numbers", view.size());
      made.offset = natural(view[1], "a view's offset");
      const int64_t elements = natural(view[2], "a view's size");
      if (made.offset > made.elements || elements > made.elements - made.offset) {
        fail(ErrorCode::invalid_input, "a view of {} elements from {} on into a storage of {}", elements, made.offset,
             made.elements);
      }
      made.elements = elements;
    }
    pickle_.storages.push_back(made);
    push(PickleKind::storage, uint32_t(pickle_.storages.size() - 1));
  }

  ByteReader& reader_;
  Pickle pickle_;
  std::vector<PickleId> stack_;
  std::vector<size_t> marks_;  // sizes of the stack
  std::unordered_map<uint32_t, PickleId> memo_;
};

}  // namespace

Pickle Pickle::parse(ByteReader& reader) {
  return Unpickler(reader).run();
}

const PickleValue* Pickle::find(const PickleValue& dict, std::string_view key) const {
  if (dict.kind != PickleKind::dict) return nullptr;
  for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    const PickleValue& found = values[dict.items[i]];
    if (found.kind == PickleKind::text && found.text == key) return &values[dict.items[i + 1]];
  }
  return nullptr;
}

}  // namespace lathe::io
