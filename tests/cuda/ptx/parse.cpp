#include <algorithm>
#include <cctype>
#include <charconv>

#include "decode.hpp"
#include "machine.hpp"

namespace ptx {
namespace {

[[noreturn]] void fail(uint32_t line, const std::string& what) {
  throw Fault("PTX line " + std::to_string(line) + ": " + what);
}

std::string trimmed(std::string_view text) {
  const auto blank = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return std::string(text);
}

// At commas that stand in no bracket.
std::vector<std::string> split(std::string_view text, char at) {
  std::vector<std::string> parts;
  int depth = 0;
  size_t begin = 0;
  for (size_t i = 0; i <= text.size(); ++i) {
    const char c = i < text.size() ? text[i] : at;
    if (c == '{' || c == '[' || c == '(') ++depth;
    if (c == '}' || c == ']' || c == ')') --depth;
    if (c != at || depth != 0) continue;
    parts.push_back(trimmed(text.substr(begin, i - begin)));
    begin = i + 1;
  }
  return parts;
}

std::vector<std::string> words(const std::string& text) {
  std::vector<std::string> found;
  for (size_t i = 0; i < text.size();) {
    const size_t begin = text.find_first_not_of(" \t\n\r", i);
    if (begin == text.npos) break;
    i = std::min(text.find_first_of(" \t\n\r", begin), text.size());
    found.push_back(text.substr(begin, i - begin));
  }
  return found;
}

uint32_t type_bytes(const std::string& type, uint32_t line) {
  static const std::map<std::string, uint32_t> sizes = {
      {"b8", 1},  {"u8", 1},  {"s8", 1},  {"b16", 2}, {"u16", 2}, {"s16", 2}, {"f16", 2}, {"b32", 4},
      {"u32", 4}, {"s32", 4}, {"f32", 4}, {"b64", 8}, {"u64", 8}, {"s64", 8}, {"f64", 8}, {"pred", 0}};
  const auto found = sizes.find(type);
  if (found == sizes.end()) fail(line, "unknown type ." + type);
  return found->second;
}

// A literal: decimal, 0x, 0f and 0d with the bits of a float.
bool literal(const std::string& text, Argument& out) {
  out.kind = Argument::kImmediate;
  std::string t = text;
  const bool minus = !t.empty() && t[0] == '-';
  if (minus) t.erase(0, 1);
  if (t.empty() || std::isdigit(static_cast<unsigned char>(t[0])) == 0) return false;
  int base = 10;
  if (t.size() > 2 && t[0] == '0' && (t[1] == 'x' || t[1] == 'X')) base = 16;
  if (t.size() == 10 && t[0] == '0' && (t[1] == 'f' || t[1] == 'F')) {
    base = 16;
    out.float_bytes = 4;
  }
  if (t.size() == 18 && t[0] == '0' && (t[1] == 'd' || t[1] == 'D')) {
    base = 16;
    out.float_bytes = 8;
  }
  if (base == 16) t.erase(0, 2);
  if (t.back() == 'U') t.pop_back();
  const auto [end, error] = std::from_chars(t.data(), t.data() + t.size(), out.bits, base);
  if (error != std::errc() || end != t.data() + t.size()) return false;
  if (minus) out.bits = 0 - out.bits;
  return true;
}

class Reader {
 public:
  Reader(const std::string& text, const std::function<uint64_t(const Variable&)>& place) : text_(text), place_(place) {}

  std::unique_ptr<Module> read() {
    module_ = std::make_unique<Module>();
    while (next()) {
      if (statement_.empty() && ended_ == '}') fail(line_, "a } too many");
      if (statement_.find(".entry") != std::string::npos && ended_ == '{') {
        read_kernel();
      } else if (ended_ == ';') {
        read_variable();
      } else {
        fail(line_, "unknown at the outer level: " + statement_.substr(0, 60));
      }
    }
    return std::move(module_);
  }

 private:
  // One statement into statement_; ended_ is ';', '{', '}' or ':'.
  bool next() {
    statement_.clear();
    int braces = 0;
    bool quoted = false;
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '\n') ++line_;
      if (text_.compare(at_, 2, "//") == 0) {
        at_ = std::min(text_.find('\n', at_), text_.size()) - 1;
        continue;
      }
      const bool fresh = statement_.find_first_not_of(" \t\n\r") == std::string::npos;
      if (fresh && (c == '\n' || c == ' ' || c == '\t' || c == '\r')) continue;
      if (fresh && c == '.') {  // directives that end with their line
        const size_t end = std::min(text_.find('\n', at_), text_.size());
        const std::string directive = text_.substr(at_, end - at_);
        if (directive.starts_with(".version") || directive.starts_with(".address_size")) {
          at_ = end - 1;
          continue;
        }
        if (directive.starts_with(".target")) {
          module_->target = trimmed(directive.substr(7));
          at_ = end - 1;
          continue;
        }
      }
      if (fresh) started_ = line_;
      if (c == '"') quoted = !quoted;
      if (!quoted) {
        if (c == '{' && (fresh || statement_.find(".entry") != std::string::npos)) return finish(c);
        if (c == '}' && braces == 0) return finish(c);
        if (c == '{') ++braces;
        if (c == '}') --braces;
        if (c == ';') return finish(c);
        if (c == ':' && braces == 0 && text_.compare(at_, 2, "::") != 0 && text_[at_ - 1] != ':') return finish(c);
      }
      statement_ += c;
    }
    statement_ = trimmed(statement_);
    if (!statement_.empty()) fail(line_, "the text ends within a statement");
    return false;
  }
  bool finish(char c) {
    ended_ = c;
    ++at_;
    statement_ = trimmed(statement_);
    return true;
  }

  // ".align 4 .b8 name[24] = {...}" behind the state space; unsized arrays have 0 bytes.
  Variable variable(const std::string& text) {
    Variable v;
    std::string type, head = text.substr(0, text.find('='));
    for (const std::string& word : words(head)) {
      if (expect_alignment_) {
        v.alignment = std::stoull(word);
        expect_alignment_ = false;
      } else if (word == ".align") {
        expect_alignment_ = true;
      } else if (word[0] == '.') {
        if (word != ".visible" && word != ".weak" && word != ".extern" && word != ".common" && word != ".ptr" &&
            word != ".global" && word != ".const" && word != ".shared" && word != ".local" && word != ".param") {
          type = word.substr(1);
        }
      } else {
        v.name += word;
      }
    }
    const uint64_t element = type_bytes(type, started_);
    v.alignment = std::max(v.alignment, element);
    v.bytes = element;
    for (size_t open = v.name.find('['); open != v.name.npos; open = v.name.find('[', open + 1)) {
      const std::string count = v.name.substr(open + 1, v.name.find(']', open) - open - 1);
      v.bytes *= count.empty() ? 0 : std::stoull(count);
    }
    v.name = v.name.substr(0, v.name.find('['));
    if (text.find('=') == text.npos) return v;
    v.init.assign(v.bytes, 0);
    std::string list = trimmed(text.substr(text.find('=') + 1));
    if (list.starts_with("{")) list = list.substr(1, list.rfind('}') - 1);
    uint64_t to = 0;
    for (const std::string& item : split(list, ',')) {
      Argument a;
      if (!literal(item, a)) fail(started_, "an initial value that is no number: " + item);
      if (to + element > v.bytes) fail(started_, "more initial values than " + v.name + " has room for");
      std::memcpy(v.init.data() + to, &a.bits, element);
      to += element;
    }
    return v;
  }

  void read_variable() {
    if (statement_.starts_with(".shared")) {  // of inlined functions: every kernel has a copy
      shared_.push_back(variable(statement_));
      return;
    }
    if (!statement_.starts_with(".global") && !statement_.starts_with(".const") &&
        !statement_.starts_with(".visible") && !statement_.starts_with(".weak")) {
      fail(started_, "unknown at the outer level: " + statement_.substr(0, 60));
    }
    Variable v = variable(statement_);
    if (v.init.empty()) v.init.assign(v.bytes, 0);
    globals_[v.name] = place_(v);
  }

  static uint64_t put(uint64_t& end, Variable& v) {
    v.offset = (end + v.alignment - 1) / v.alignment * v.alignment;
    end = v.offset + v.bytes;
    return v.offset;
  }

  void read_kernel() {
    const size_t entry = statement_.find(".entry"), open = statement_.find('(', entry);
    const std::string name = trimmed(statement_.substr(entry + 6, std::min(open, statement_.size()) - entry - 6));
    kernel_ = &module_->kernels[name];
    kernel_->name = name;
    Rows rows(*kernel_);
    rows_ = &rows;
    scopes_.assign(1, {});
    symbols_ = globals_;
    for (Variable& v : shared_) symbols_[v.name] = put(kernel_->shared_bytes, v);
    labels_.clear();
    wanted_.clear();
    specials_.clear();
    tables_.clear();
    std::string behind;
    if (open != statement_.npos) {
      const size_t close = statement_.find(')', open);
      for (const std::string& text : split(statement_.substr(open + 1, close - open - 1), ',')) {
        if (text.empty()) continue;
        Variable v = variable(text);
        symbols_[v.name] = put(kernel_->param_bytes, v);
        kernel_->params.push_back(v);
      }
      behind = statement_.substr(close + 1);
    }
    for (const char* limit : {".maxntid", ".reqntid"}) {
      const size_t at = behind.find(limit);
      if (at == behind.npos) continue;
      kernel_->max_threads = 1;
      std::string numbers = behind.substr(at + 8);
      numbers = numbers.substr(0, numbers.find('.'));
      for (const std::string& number : split(numbers, ','))
        kernel_->max_threads *= static_cast<uint32_t>(std::stoul(number));
    }
    for (int depth = 1; depth > 0;) {
      if (!next()) fail(line_, "the text ends within kernel " + name);
      if (ended_ == '{') {
        scopes_.emplace_back();
        ++depth;
      } else if (ended_ == '}') {
        if (!statement_.empty()) fail(started_, "a statement without its end: " + statement_);
        scopes_.pop_back();
        --depth;
      } else if (ended_ == ':') {
        labels_[statement_] = static_cast<uint32_t>(kernel_->code.size());
        last_label_ = statement_;
      } else {
        read_statement();
      }
    }
    // A kernel may end without a ret.
    Instruction last;
    last.flow = Flow::kExit;
    kernel_->code.push_back(last);
    for (const auto& [at, label] : wanted_) {
      Instruction& in = kernel_->code[at];
      const auto resolve = [&](const std::string& to) {
        const auto found = labels_.find(to);
        if (found == labels_.end()) fail(in.line, "no label " + to);
        return found->second;
      };
      if (in.flow == Flow::kBranch) {
        in.target = resolve(label);
      } else {
        const auto table = tables_.find(label);
        if (table == tables_.end()) fail(in.line, "no branch table " + label);
        for (const std::string& to : table->second) in.targets.push_back(resolve(to));
      }
    }
    kernel_ = nullptr;
  }

  void read_statement() {
    std::string text = statement_;
    if (text.starts_with(".pragma")) return;
    if (text.starts_with(".reg")) return read_registers(text);
    for (const char* space : {".shared", ".local"}) {
      if (!text.starts_with(space)) continue;
      Variable v = variable(text);
      symbols_[v.name] = put(space[1] == 's' ? kernel_->shared_bytes : kernel_->local_bytes, v);
      return;
    }
    if (text.starts_with(".branchtargets")) {
      tables_[last_label_] = split(text.substr(14), ',');
      return;
    }
    if (text[0] == '.') fail(started_, "unknown directive: " + text.substr(0, 60));
    Instruction in;
    in.line = started_;
    if (text[0] == '@') {
      const size_t end = text.find_first_of(" \t\n");
      std::string guard = text.substr(1, end - 1);
      in.guard_negated = guard[0] == '!';
      if (in.guard_negated) guard.erase(0, 1);
      in.guard = registered(guard).index;
      text = trimmed(text.substr(end));
    }
    const size_t end = std::min(text.find_first_of(" \t\n"), text.size());
    Statement statement;
    statement.line = started_;
    const std::string opcode = text.substr(0, end), rest = trimmed(text.substr(end));
    statement.opcode = split(opcode, '.');
    if (statement.opcode[0] == "bra") {
      in.flow = Flow::kBranch;
      wanted_.emplace_back(kernel_->code.size(), rest);
    } else if (statement.opcode[0] == "brx") {
      in.flow = Flow::kBranchTable;
      const std::vector<std::string> parts = split(rest, ',');
      if (parts.size() != 2) fail(started_, "brx.idx takes an index and a table");
      in.from[in.n_from++] = registered(parts[0]);
      wanted_.emplace_back(kernel_->code.size(), parts[1]);
    } else if (statement.opcode[0] == "ret" || statement.opcode[0] == "exit") {
      in.flow = Flow::kExit;
    } else {
      if (!rest.empty()) {
        for (const std::string& part : split(rest, ',')) add_arguments(part, statement);
      }
      decode(statement, *rows_, *kernel_, in);
    }
    kernel_->code.push_back(std::move(in));
  }

  void read_registers(const std::string& text) {
    const std::vector<std::string> all = words(text);
    const uint32_t bytes = type_bytes(all.at(1).substr(1), started_);
    std::string names;
    for (size_t i = 2; i < all.size(); ++i) names += all[i];
    for (const std::string& name : split(names, ',')) {
      const size_t open = name.find('<');
      if (open == name.npos) {
        scopes_.back()[name] = rows_->add(bytes);
        continue;
      }
      const uint64_t n = std::stoull(name.substr(open + 1));
      for (uint64_t i = 0; i < n; ++i) {
        scopes_.back()[name.substr(0, open) + std::to_string(i)] = {kNone, kNone, static_cast<uint8_t>(bytes)};
      }
    }
  }

  // Registers of a family get their row when they are first named.
  Operand registered(const std::string& name) {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      const auto found = scope->find(name);
      if (found == scope->end()) continue;
      if (found->second.index == kNone) found->second = rows_->add(found->second.bytes);
      return found->second;
    }
    static const std::map<std::string, uint32_t> kSpecial = {
        {"%tid.x", 0},     {"%tid.y", 1},     {"%tid.z", 2},   {"%ntid.x", 3},  {"%ntid.y", 4},
        {"%ntid.z", 5},    {"%ctaid.x", 6},   {"%ctaid.y", 7}, {"%ctaid.z", 8}, {"%nctaid.x", 9},
        {"%nctaid.y", 10}, {"%nctaid.z", 11}, {"%laneid", 12}, {"%warpid", 13}};
    const auto special = kSpecial.find(name);
    if (special == kSpecial.end()) fail(started_, "no register " + name);
    const auto [made, fresh] = specials_.try_emplace(name);
    if (fresh) {
      made->second = rows_->add(4);
      kernel_->special.push_back({special->second, made->second});
    }
    return made->second;
  }

  void add_arguments(const std::string& text, Statement& to) {
    if (text.find('|') != text.npos) {  // %p|%q
      for (const std::string& part : split(text, '|')) to.arguments.push_back(argument(part));
    } else {
      to.arguments.push_back(argument(text));
    }
  }

  Argument argument(const std::string& text) {
    Argument a;
    if (text.empty()) fail(started_, "an empty operand");
    if (text == "_") return a;
    if (text[0] == '{') {
      a.kind = Argument::kVector;
      for (const std::string& part : split(text.substr(1, text.size() - 2), ',')) a.parts.push_back(argument(part));
      return a;
    }
    if (text[0] == '[') {
      a.kind = Argument::kAddress;
      std::string inner = text.substr(1, text.size() - 2);
      const size_t sign = inner.find_first_of("+-", 1);
      std::string base = trimmed(inner.substr(0, sign));
      if (sign != inner.npos) {
        Argument offset;
        std::string number = inner.substr(inner[sign] == '+' ? sign + 1 : sign);
        if (number.starts_with("-") && number.size() > 1 && number[1] == '-') number.erase(0, 2);
        if (!literal(trimmed(number), offset)) fail(started_, "an address that is not understood: " + text);
        a.offset = static_cast<int64_t>(offset.bits);
      }
      if (base[0] == '%') {
        a.reg = registered(base);
      } else if (const auto symbol = symbols_.find(base); symbol != symbols_.end()) {
        a.offset += static_cast<int64_t>(symbol->second);
      } else {
        Argument number;
        if (!literal(base, number)) fail(started_, "no variable " + base);
        a.offset += static_cast<int64_t>(number.bits);
      }
      return a;
    }
    if (text[0] == '!') {
      a = argument(text.substr(1));
      a.negated = true;
      return a;
    }
    if (text[0] == '%') {
      a.kind = Argument::kRegister;
      a.reg = registered(text);
      return a;
    }
    if (literal(text, a)) return a;
    if (const auto symbol = symbols_.find(text); symbol != symbols_.end()) {
      a.kind = Argument::kImmediate;
      a.bits = symbol->second;
      return a;
    }
    // Names of inline assembly's own registers have no %.
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      if (scope->contains(text)) {
        a.kind = Argument::kRegister;
        a.reg = registered(text);
        return a;
      }
    }
    a.kind = Argument::kLabel;
    a.label = text;
    return a;
  }

  const std::string& text_;
  const std::function<uint64_t(const Variable&)>& place_;
  size_t at_ = 0;
  uint32_t line_ = 1, started_ = 1;
  std::string statement_;
  char ended_ = 0;
  bool expect_alignment_ = false;
  std::unique_ptr<Module> module_;
  std::map<std::string, uint64_t> globals_, symbols_;
  std::vector<Variable> shared_;
  Kernel* kernel_ = nullptr;
  Rows* rows_ = nullptr;
  std::vector<std::map<std::string, Operand>> scopes_;
  std::map<std::string, Operand> specials_;
  std::map<std::string, uint32_t> labels_;
  std::map<std::string, std::vector<std::string>> tables_;
  std::string last_label_;
  std::vector<std::pair<size_t, std::string>> wanted_;  // branches and their labels
};

}  // namespace

Operand Rows::add(uint32_t bytes) {
  Operand made;
  made.bytes = static_cast<uint8_t>(bytes);
  made.index = kernel_.n_registers++;
  made.offset = kernel_.arena_bytes;
  kernel_.arena_bytes += 32 * bytes;
  return made;
}

Operand Rows::immediate(uint64_t bits, uint32_t bytes) {
  const auto [made, fresh] = immediates_.try_emplace({bits, bytes});
  if (fresh) {
    made->second = add(bytes);
    made->second.index = kNone;
    kernel_.rows.resize(kernel_.arena_bytes);
    for (uint32_t lane = 0; lane < 32; ++lane) {
      std::memcpy(kernel_.rows.data() + made->second.offset + lane * bytes, &bits, bytes);
    }
  }
  return made->second;
}

std::unique_ptr<Module> parse(const std::string& text, const std::function<uint64_t(const Variable&)>& place) {
  return Reader(text, place).read();
}

}  // namespace ptx
