// A model as one or more GGUF files, mapped: the merged tensor table, the metadata, and the way to each tensor's bytes.
// A split model ("name-00001-of-00005.gguf") is opened by any of its parts; the metadata is the first part's. Opening
// reads headers only. Tensor bytes come as a view into the mapping or by positioned reads into the caller's memory. A
// header without its tensors (a shape, or the beginning of a file) is one too: it describes and plans, and its data are
// a FAILED_PRECONDITION.
#pragma once

#include <base/hash.hpp>
#include <base/mapping.hpp>
#include <cstddef>
#include <cstdint>
#include <model/gguf.hpp>
#include <model/metadata.hpp>
#include <model/tensor.hpp>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace brim::model {

// Move-only; views into it stay valid when it moves.
class ModelFile {
 public:
  // [control] Throws what FileMapping and parse_gguf throw; NOT_FOUND names a part that is missing, DATA_CORRUPT parts
  // that do not belong together. Of kHeader, files may end anywhere behind their headers.
  static ModelFile open(const std::string& path, Extent extent = Extent::kWhole);

  // A header alone; `name` is what path() gives. Names in `tensors` are views into what `metadata` keeps.
  static ModelFile of_header(std::string name, Metadata metadata, std::vector<Tensor> tensors);

  // Of the first part, or the header's name.
  const std::string& path() const { return path_; }
  bool has_data() const { return has_data_; }
  const Metadata& metadata() const { return metadata_; }

  // In file order.
  std::span<const Tensor> tensors() const { return tensors_; }
  // nullptr if there is none. O(1).
  const Tensor* find(std::string_view name) const;
  // Throws NOT_FOUND for an absent tensor and UNSUPPORTED for one of a type that Brim cannot use.
  const Tensor& require(std::string_view name) const;

  // The tensor's bytes in the mapping. UNSUPPORTED as above. See FileMapping about files that change.
  std::span<const std::byte> data(const Tensor& tensor) const;
  // Fills `to` with the tensor's bytes from `offset` on, without touching the mapping. [any]
  void read(const Tensor& tensor, uint64_t offset, std::span<std::byte> to) const;
  // Hints about the tensor's pages, see FileMapping.
  void advise(const Tensor& tensor, os::Access access) const noexcept;
  void release(const Tensor& tensor) const noexcept;

  // Throws FAILED_PRECONDITION when a file changed since open(), and where there is none. To be called before each
  // stage of loading.
  void check_unchanged() const;

  size_t file_count() const { return mappings_.size(); }
  const FileMapping& file(size_t index) const { return mappings_[index]; }
  // Of all files (of headers alone: of their tensors), and of all tensors of known size.
  uint64_t file_bytes() const;
  uint64_t tensor_bytes() const;

  // Names the content: headers and sizes of all files. Weights are not read, so two trainings of one architecture with
  // the same metadata share it only if they also share every tensor's place; general.name and the like tell them apart.
  const Hash128& identity() const { return identity_; }

  // "Q4_K_M": from general.file_type, else the type that holds most bytes.
  std::string type_name() const;

 private:
  ModelFile() = default;
  void add_file(FileMapping mapping, uint64_t part, uint64_t parts, Extent extent, Hasher& hasher);
  // The part that holds a tensor's bytes.
  const FileMapping& mapping_of(const Tensor& tensor) const;

  std::string path_;
  std::vector<FileMapping> mappings_;
  bool has_data_ = false;
  Metadata metadata_;
  std::vector<Tensor> tensors_;
  std::unordered_map<std::string_view, uint32_t> by_name_;
  Hash128 identity_;
};

}  // namespace brim::model
