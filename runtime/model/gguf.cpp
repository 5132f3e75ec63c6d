#include <algorithm>
#include <base/error.hpp>
#include <base/utf8.hpp>
#include <bit>
#include <cstring>
#include <limits>
#include <model/ggml_types.hpp>
#include <model/gguf.hpp>
#include <model/recognize.hpp>
#include <unordered_set>
#include <utility>

namespace brim::model {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF files are read as they lie in memory");

constexpr uint64_t kDefaultAlignment = 32;
constexpr uint64_t kMaxAlignment = uint64_t{1} << 30;
constexpr uint64_t kMaxKeyBytes = 65535;  // the format's limit
// The format says 64; files with longer names exist.
constexpr uint64_t kMaxNameBytes = 255;
constexpr uint32_t kMaxFileRank = 4;
constexpr uint64_t kMaxFileBytes = uint64_t{1} << 62;  // of a file of which only the header is here
constexpr uint64_t kMaxElements = std::numeric_limits<int64_t>::max();

// Value kinds as the file numbers them.
enum Kind : uint32_t { kU8, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kString, kArray, kU64, kI64, kF64, kKinds };
// The least bytes a value takes in the file.
constexpr uint64_t kKindBytes[kKinds] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};

class Parser {
 public:
  Parser(std::span<const std::byte> bytes, const std::string& source) : bytes_(bytes), source_(source) {}

  uint64_t position() const { return position_; }
  std::span<const std::byte> since(uint64_t begin) const { return bytes_.subspan(begin, position_ - begin); }
  uint64_t left() const { return bytes_.size() - position_; }

  // `what` goes into the message of a file that ends too early.
  template <class T>
  T number(const std::string& what) {
    T value;
    std::memcpy(&value, take(sizeof(T), what), sizeof(T));
    return value;
  }

  std::string_view string(uint64_t limit, const std::string& what) {
    const auto length = number<uint64_t>(what);
    if (length > limit) {
      fail(BRIM_DATA_CORRUPT, "{}: {} at byte {} has a length of {} bytes, expected at most {}; {}", source_, what,
           position_ - 8, length, limit, kRemedy);
    }
    return {reinterpret_cast<const char*>(take(length, what)), static_cast<size_t>(length)};
  }

  bool boolean(const std::string& what) {
    const auto byte = number<uint8_t>(what);
    if (byte > 1) {
      fail(BRIM_DATA_CORRUPT, "{}: {} is a truth value of {}, expected 0 or 1; {}", source_, what, byte, kRemedy);
    }
    return byte == 1;
  }

  Value value(Kind kind, const std::string& what) {
    switch (kind) {
      case kU8:
        return uint64_t{number<uint8_t>(what)};
      case kU16:
        return uint64_t{number<uint16_t>(what)};
      case kU32:
        return uint64_t{number<uint32_t>(what)};
      case kU64:
        return number<uint64_t>(what);
      case kI8:
        return int64_t{number<int8_t>(what)};
      case kI16:
        return int64_t{number<int16_t>(what)};
      case kI32:
        return int64_t{number<int32_t>(what)};
      case kI64:
        return number<int64_t>(what);
      case kF32:
        return double{number<float>(what)};
      case kF64:
        return number<double>(what);
      case kBool:
        return boolean(what);
      case kString:
        return string(left(), what);
      default:
        return array(what);
    }
  }

  Kind kind(const std::string& what) {
    const auto id = number<uint32_t>(what);
    if (id >= kKinds) {
      fail(BRIM_DATA_CORRUPT, "{}: {} has the value type {}, expected one below {}; {}", source_, what, id,
           static_cast<uint32_t>(kKinds), kRemedy);
    }
    return static_cast<Kind>(id);
  }

  // A count of things of at least `least` bytes each that still have to fit into the file.
  void check_count(uint64_t count, uint64_t least, const std::string& what) const {
    if (count > left() / least) {
      fail(BRIM_DATA_CORRUPT, "{}: {} says {}, but the {} bytes after it hold at most {}; {}", source_, what, count,
           left(), left() / least, kRemedy);
    }
  }

  static constexpr const char* kRemedy = "the file is cut short or damaged, get it again";

 private:
  const std::byte* take(uint64_t bytes, const std::string& what) {
    if (bytes > left()) {
      fail(BRIM_DATA_CORRUPT, "{}: the file ends at byte {} inside {}, which needs {} bytes at {}; {}", source_,
           bytes_.size(), what, bytes, position_, kRemedy);
    }
    const std::byte* at = bytes_.data() + position_;
    position_ += bytes;
    return at;
  }

  template <class To, class From>
  std::vector<To> numbers(uint64_t count, const std::string& what) {
    std::vector<To> out(static_cast<size_t>(count));
    const std::byte* at = take(count * sizeof(From), what);
    for (size_t i = 0; i < out.size(); ++i) {
      From value;
      std::memcpy(&value, at + i * sizeof(From), sizeof(From));
      out[i] = static_cast<To>(value);
    }
    return out;
  }

  Value array(const std::string& what) {
    const Kind element = kind(what);
    const auto count = number<uint64_t>(what);
    if (element == kArray) {
      fail(BRIM_UNSUPPORTED, "{}: {} is an array of arrays, which no model needs; convert the model with another tool",
           source_, what);
    }
    check_count(count, kKindBytes[element], what);
    switch (element) {
      case kU8:
        return numbers<uint64_t, uint8_t>(count, what);
      case kU16:
        return numbers<uint64_t, uint16_t>(count, what);
      case kU32:
        return numbers<uint64_t, uint32_t>(count, what);
      case kU64:
        return numbers<uint64_t, uint64_t>(count, what);
      case kI8:
        return numbers<int64_t, int8_t>(count, what);
      case kI16:
        return numbers<int64_t, int16_t>(count, what);
      case kI32:
        return numbers<int64_t, int32_t>(count, what);
      case kI64:
        return numbers<int64_t, int64_t>(count, what);
      case kF32:
        return numbers<float, float>(count, what);
      case kF64:
        return numbers<float, double>(count, what);
      case kBool: {
        std::vector<bool> out;
        out.reserve(static_cast<size_t>(count));
        for (uint64_t i = 0; i < count; ++i) out.push_back(boolean(what));
        return out;
      }
      default: {
        std::vector<std::string_view> out;
        out.reserve(static_cast<size_t>(count));
        for (uint64_t i = 0; i < count; ++i) out.push_back(string(left(), what));
        return out;
      }
    }
  }

  std::span<const std::byte> bytes_;
  const std::string& source_;
  uint64_t position_ = 0;
};

uint32_t parse_version(Parser& in, std::span<const std::byte> bytes, const std::string& source) {
  if (bytes.size() < 4 || std::memcmp(bytes.data(), "GGUF", 4) != 0) {
    fail(BRIM_DATA_CORRUPT, "{} is no GGUF file: it does not begin with 'GGUF'; it seems to be {}", source,
         seems_to_be(bytes));
  }
  in.number<uint32_t>("the magic");
  const auto version = in.number<uint32_t>("the version");
  if (version == 2 || version == 3) return version;
  if (version == 1) {
    fail(BRIM_UNSUPPORTED,
         "{} is GGUF version 1, which was in use for some weeks of 2023; Brim reads 2 and 3: get a "
         "newer conversion of the model",
         source);
  }
  if ((version & 0xFFFF) == 0 && version != 0) {
    fail(BRIM_UNSUPPORTED, "{} is a big-endian GGUF file; Brim reads little-endian ones: convert the model for them",
         source);
  }
  fail(BRIM_UNSUPPORTED, "{} is GGUF version {}, Brim reads 2 and 3; get the model in one of them, or a newer Brim",
       source, version);
}

void parse_metadata(Parser& in, uint64_t count, Gguf& out) {
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t begin = in.position();
    const std::string where = fmt::format("the name of key {} of {}", i + 1, count);
    const std::string_view key = in.string(kMaxKeyBytes, where);
    if (key.empty() || !is_utf8(key)) {
      fail(BRIM_DATA_CORRUPT, "{}: {} is '{}', expected UTF-8 text; {}", out.metadata.source, where, printable(key),
           Parser::kRemedy);
    }
    const std::string what = fmt::format("key '{}'", printable(key));
    const Kind kind = in.kind(what);
    out.metadata.set(key, in.value(kind, what));
    out.entries.push_back(in.since(begin));
  }
}

uint64_t alignment_of(const Metadata& metadata) {
  const uint64_t alignment = metadata.u64("general.alignment").value_or(kDefaultAlignment);
  if (!std::has_single_bit(alignment) || alignment > kMaxAlignment) {
    fail(BRIM_DATA_CORRUPT, "{}: key 'general.alignment' is {}, expected a power of two up to {}; {}", metadata.source,
         alignment, kMaxAlignment, Parser::kRemedy);
  }
  return alignment;
}

// Reads one entry of the tensor table; its offset stays relative to the data section.
Tensor parse_tensor(Parser& in, uint64_t index, uint64_t count, const std::string& source) {
  Tensor tensor;
  const std::string where = fmt::format("the name of tensor {} of {}", index + 1, count);
  tensor.name = in.string(kMaxNameBytes, where);
  if (tensor.name.empty() || !is_utf8(tensor.name)) {
    fail(BRIM_DATA_CORRUPT, "{}: {} is '{}', expected UTF-8 text; {}", source, where, printable(tensor.name),
         Parser::kRemedy);
  }
  const std::string what = fmt::format("tensor '{}'", printable(tensor.name));
  const auto rank = in.number<uint32_t>(what);
  if (rank > kMaxFileRank) {
    fail(BRIM_DATA_CORRUPT, "{}: {} has {} dimensions, expected at most {}; {}", source, what, rank, kMaxFileRank,
         Parser::kRemedy);
  }
  uint64_t elements = 1;
  for (uint32_t i = 0; i < rank; ++i) {
    const auto extent = in.number<uint64_t>(what);
    if (extent == 0 || extent > kMaxElements / elements) {
      fail(BRIM_DATA_CORRUPT,
           "{}: {} has an extent of {} in dimension {}, expected a positive number whose product "
           "with the others is below 2^63; {}",
           source, what, extent, i, Parser::kRemedy);
    }
    elements *= extent;
    tensor.shape.extents[rank - 1 - i] = extent;
  }
  tensor.shape.rank = rank;
  if (rank == 0) {  // a lone number
    tensor.shape.rank = 1;
    tensor.shape.extents[0] = 1;
  }
  const auto type_id = in.number<uint32_t>(what);
  tensor.offset = in.number<uint64_t>(what);
  const GgmlType* type = ggml_type(type_id);
  if (!type) {
    tensor.type_name = fmt::format("ggml type {}", type_id);
    return tensor;
  }
  tensor.type_name = type->name;
  tensor.dtype = type->dtype;
  if (tensor.shape.row() % type->block_elements != 0) {
    fail(BRIM_DATA_CORRUPT, "{}: {} has rows of {} elements, but {} stores blocks of {}; {}", source, what,
         tensor.shape.row(), type->name, type->block_elements, Parser::kRemedy);
  }
  const uint64_t blocks = elements / type->block_elements;
  if (blocks > std::numeric_limits<uint64_t>::max() / type->block_bytes) {
    fail(BRIM_DATA_CORRUPT, "{}: {} of shape {} has more bytes than a file can have; {}", source, what,
         to_string(tensor.shape), Parser::kRemedy);
  }
  tensor.bytes = blocks * type->block_bytes;
  return tensor;
}

// Makes offsets absolute and checks that every tensor lies in the file of that length, aligned, and in no other
// tensor's place.
void place_tensors(Gguf& out, uint64_t file_bytes, const std::string& source) {
  const uint64_t room = file_bytes > out.data_begin ? file_bytes - out.data_begin : 0;
  std::unordered_set<std::string_view> names;
  names.reserve(out.tensors.size());
  std::vector<const Tensor*> by_offset;
  by_offset.reserve(out.tensors.size());
  for (Tensor& tensor : out.tensors) {
    if (!names.insert(tensor.name).second) {
      fail(BRIM_DATA_CORRUPT, "{}: tensor '{}' appears twice; {}", source, printable(tensor.name), Parser::kRemedy);
    }
    if (tensor.offset % out.alignment != 0) {
      fail(BRIM_DATA_CORRUPT, "{}: tensor '{}' begins at {} of the data, expected a multiple of the alignment {}; {}",
           source, printable(tensor.name), tensor.offset, out.alignment, Parser::kRemedy);
    }
    if (tensor.offset > room || tensor.bytes > room - tensor.offset) {
      fail(BRIM_DATA_CORRUPT,
           "{}: tensor '{}' needs {} bytes at {} of the data, but the file holds {} bytes of data; "
           "{}; its header can be planned from as \"header:PATH\"",
           source, printable(tensor.name), tensor.bytes, tensor.offset, room, Parser::kRemedy);
    }
    tensor.offset += out.data_begin;
    by_offset.push_back(&tensor);
  }
  std::sort(by_offset.begin(), by_offset.end(), [](const Tensor* a, const Tensor* b) {
    return std::pair(a->offset, a->bytes) < std::pair(b->offset, b->bytes);
  });
  for (size_t i = 1; i < by_offset.size(); ++i) {
    const Tensor& before = *by_offset[i - 1];
    const Tensor& after = *by_offset[i];
    if (before.offset + before.bytes > after.offset) {
      fail(BRIM_DATA_CORRUPT, "{}: tensors '{}' and '{}' overlap at byte {}; {}", source, printable(before.name),
           printable(after.name), after.offset, Parser::kRemedy);
    }
  }
}

}  // namespace

std::string to_string(const Shape& shape) {
  std::string out = "[";
  for (const uint64_t extent : shape.dims()) out += fmt::format("{}{}", out.size() > 1 ? ", " : "", extent);
  return out + "]";
}

Gguf parse_gguf(std::span<const std::byte> bytes, std::string source, Extent extent) {
  Gguf out;
  out.metadata.source = std::move(source);
  const std::string& name = out.metadata.source;
  Parser in(bytes, name);
  out.version = parse_version(in, bytes, name);
  const auto tensor_count = in.number<uint64_t>("the number of tensors");
  const auto key_count = in.number<uint64_t>("the number of keys");
  // Name length, rank, type and offset of an empty name; name length, kind and one byte of value.
  in.check_count(tensor_count, 8 + 4 + 4 + 8, "the number of tensors");
  in.check_count(key_count, 8 + 4 + 1, "the number of keys");

  parse_metadata(in, key_count, out);
  out.alignment = alignment_of(out.metadata);
  in.check_count(tensor_count, 8 + 4 + 4 + 8, "the number of tensors");
  out.tensors.reserve(static_cast<size_t>(tensor_count));
  for (uint64_t i = 0; i < tensor_count; ++i) out.tensors.push_back(parse_tensor(in, i, tensor_count, name));
  out.header_bytes = in.position();
  out.data_begin = (out.header_bytes + out.alignment - 1) / out.alignment * out.alignment;
  place_tensors(out, extent == Extent::kWhole ? bytes.size() : kMaxFileBytes, name);
  return out;
}

}  // namespace brim::model
