#include <algorithm>
#include <base/error.hpp>
#include <base/utf8.hpp>
#include <cctype>
#include <map>
#include <model/ggml_types.hpp>
#include <model/gguf.hpp>
#include <model/model_file.hpp>
#include <optional>
#include <utility>

namespace brim::model {
namespace {

// No model is split into more; keeps a lying header from asking for millions of files.
constexpr uint64_t kMaxParts = 9999;

// "dir/name-00002-of-00005.gguf" without its tail, or nullopt if the path does not end like part `part` of `parts`.
std::optional<std::string> split_prefix(const std::string& path, uint64_t part, uint64_t parts) {
  const std::string tail = fmt::format("-{:05}-of-{:05}.gguf", part + 1, parts);
  if (path.size() <= tail.size() || path.substr(path.size() - tail.size()) != tail) return std::nullopt;
  return path.substr(0, path.size() - tail.size());
}

FileMapping open_part(const std::string& path, uint64_t part, uint64_t parts) {
  try {
    return FileMapping(path);
  } catch (const Error& error) {
    if (error.code != BRIM_NOT_FOUND) throw;
    fail(BRIM_NOT_FOUND, "part {} of {} of the split model is missing: no file '{}'; put all {} parts into one folder",
         part + 1, parts, path, parts);
  }
}

[[noreturn]] void unusable(const std::string& source, const Tensor& tensor) {
  fail(BRIM_UNSUPPORTED,
       "{}: tensor '{}' is stored as {}, which this version of Brim cannot use; get the model in "
       "another quantisation",
       source, printable(tensor.name), tensor.type_name);
}

[[noreturn]] void no_data(const ModelFile& file) {
  fail(BRIM_FAILED_PRECONDITION, "{} is {} and has no data; it can be planned, not loaded: give {}", file.path(),
       file.file_count() ? "the header of a model" : "the shape of a model",
       file.file_count() ? "the whole file" : "a file");
}

}  // namespace

ModelFile ModelFile::open(const std::string& path, Extent extent) {
  ModelFile out;
  Hasher hasher;
  FileMapping first(path);
  // The file named may be any part, so the number of parts is read from it before the parts are read in order.
  const Metadata metadata = parse_gguf(first.bytes(), path, extent).metadata;
  const uint64_t parts = metadata.u64("split.count").value_or(1);
  if (parts <= 1) {
    out.add_file(std::move(first), 0, 1, extent, hasher);
  } else {
    const uint64_t part = metadata.u64("split.no").value_or(0);
    if (parts > kMaxParts || part >= parts) {
      fail(BRIM_DATA_CORRUPT,
           "{}: says that it is part {} of {}, expected a part below the count and at most {} parts; "
           "get the file again",
           path, part, parts, kMaxParts);
    }
    const auto prefix = split_prefix(path, part, parts);
    if (!prefix) {
      fail(BRIM_INVALID_ARGUMENT,
           "{}: is part {} of {} of a split model, so its name must end in "
           "-{:05}-of-{:05}.gguf for the others to be found; give it its name back",
           path, part + 1, parts, part + 1, parts);
    }
    for (uint64_t i = 0; i < parts; ++i) {
      const std::string name = fmt::format("{}-{:05}-of-{:05}.gguf", *prefix, i + 1, parts);
      out.add_file(open_part(name, i, parts), i, parts, extent, hasher);
    }
    const auto expected = out.metadata_.u64("split.tensors.count");
    if (expected && *expected != out.tensors_.size()) {
      fail(BRIM_DATA_CORRUPT,
           "{}: the {} parts hold {} tensors, 'split.tensors.count' says {}; the parts belong to "
           "different models, get them again",
           path, parts, out.tensors_.size(), *expected);
    }
  }
  out.identity_ = hasher.result();
  out.path_ = out.mappings_.front().path();
  out.has_data_ = extent == Extent::kWhole;
  return out;
}

ModelFile ModelFile::of_header(std::string name, Metadata metadata, std::vector<Tensor> tensors) {
  ModelFile out;
  out.path_ = std::move(name);
  out.metadata_ = std::move(metadata);
  out.tensors_ = std::move(tensors);
  for (uint32_t i = 0; i < out.tensors_.size(); ++i) out.by_name_.emplace(out.tensors_[i].name, i);
  out.identity_ = Hasher().add(std::string_view(out.path_)).result();
  return out;
}

const FileMapping& ModelFile::mapping_of(const Tensor& tensor) const {
  if (tensor.dtype == BRIM_DTYPE_NONE) unusable(path(), tensor);
  if (!has_data()) no_data(*this);
  return mappings_[tensor.file];
}

void ModelFile::add_file(FileMapping mapping, uint64_t part, uint64_t parts, Extent extent, Hasher& hasher) {
  mapping.check_unchanged();
  Gguf gguf = parse_gguf(mapping.bytes(), mapping.path(), extent);
  if (parts > 1) {
    const uint64_t says_part = gguf.metadata.u64("split.no").value_or(0);
    const uint64_t says_parts = gguf.metadata.u64("split.count").value_or(1);
    if (says_part != part || says_parts != parts) {
      fail(BRIM_DATA_CORRUPT,
           "{}: says that it is part {} of {}, its name says part {} of {}; the files were renamed or "
           "mixed, get them again",
           mapping.path(), says_part + 1, says_parts, part + 1, parts);
    }
  }
  hasher.add(mapping.size());
  hasher.add(mapping.bytes().first(static_cast<size_t>(gguf.header_bytes)));
  if (part == 0) {
    metadata_ = std::move(gguf.metadata);
  }
  for (Tensor& tensor : gguf.tensors) {
    tensor.file = static_cast<uint32_t>(mappings_.size());
    if (!by_name_.try_emplace(tensor.name, static_cast<uint32_t>(tensors_.size())).second) {
      fail(BRIM_DATA_CORRUPT, "{}: tensor '{}' is in an earlier part of the model too; get the parts again",
           mapping.path(), printable(tensor.name));
    }
    tensors_.push_back(std::move(tensor));
  }
  mappings_.push_back(std::move(mapping));
}

const Tensor* ModelFile::find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &tensors_[found->second];
}

const Tensor& ModelFile::require(std::string_view name) const {
  const Tensor* tensor = find(name);
  if (!tensor) {
    fail(BRIM_NOT_FOUND,
         "{}: tensor '{}' is missing; the file is incomplete or of another architecture than it says, "
         "get it again",
         path(), printable(name));
  }
  if (tensor->dtype == BRIM_DTYPE_NONE) unusable(path(), *tensor);
  return *tensor;
}

std::span<const std::byte> ModelFile::data(const Tensor& tensor) const {
  return mapping_of(tensor).bytes().subspan(static_cast<size_t>(tensor.offset), static_cast<size_t>(tensor.bytes));
}

void ModelFile::read(const Tensor& tensor, uint64_t offset, std::span<std::byte> to) const {
  const FileMapping& mapping = mapping_of(tensor);
  if (offset > tensor.bytes || to.size() > tensor.bytes - offset) {
    fail(BRIM_INVALID_ARGUMENT, "{}: cannot read {} bytes at {} of tensor '{}', which has {}", path(), to.size(),
         offset, printable(tensor.name), tensor.bytes);
  }
  mapping.file().read(tensor.offset + offset, to);
}

void ModelFile::advise(const Tensor& tensor, os::Access access) const noexcept {
  if (has_data()) mappings_[tensor.file].advise(access, tensor.offset, tensor.bytes);
}

void ModelFile::release(const Tensor& tensor) const noexcept {
  if (has_data()) mappings_[tensor.file].release(tensor.offset, tensor.bytes);
}

void ModelFile::check_unchanged() const {
  if (!has_data()) no_data(*this);
  for (const FileMapping& mapping : mappings_) mapping.check_unchanged();
}

uint64_t ModelFile::file_bytes() const {
  if (!has_data()) return tensor_bytes();
  uint64_t sum = 0;
  for (const FileMapping& mapping : mappings_) sum += mapping.size();
  return sum;
}

uint64_t ModelFile::tensor_bytes() const {
  uint64_t sum = 0;
  for (const Tensor& tensor : tensors_) sum += tensor.bytes;
  return sum;
}

std::string ModelFile::type_name() const {
  if (const auto type = metadata_.u64("general.file_type")) {
    const std::string_view name = file_type_name(*type);
    if (!name.empty()) return std::string(name);
  }
  std::map<std::string_view, uint64_t> bytes;
  for (const Tensor& tensor : tensors_) bytes[tensor.type_name] += tensor.bytes;
  const auto most =
      std::max_element(bytes.begin(), bytes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most == bytes.end()) return "no tensors";
  std::string name(most->first);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return static_cast<char>(std::toupper(static_cast<unsigned char>(c))); });
  return name;
}

}  // namespace brim::model
