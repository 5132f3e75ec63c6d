#include <algorithm>
#include <array>
#include <base/atomic_file.hpp>
#include <base/error.hpp>
#include <base/utf8.hpp>
#include <cmath>
#include <exception>
#include <model/ggml_types.hpp>
#include <model/gguf.hpp>
#include <model/model_file.hpp>
#include <model/quantize/codec.hpp>
#include <model/quantize/gguf_writer.hpp>
#include <model/quantize/quantize.hpp>
#include <model/quantize/recipe.hpp>
#include <system_error>
#include <thread>
#include <vector>

namespace brim::model {
namespace {

constexpr uint64_t kSlabElements = uint64_t{1} << 22;  // of F32: 16 MiB a thread at most
constexpr uint64_t kCopyBytes = uint64_t{1} << 24;

struct Output {
  const GgmlType* type;
  uint64_t bytes;
  bool converts;
  bool fell_back;
};

// What each tensor becomes. Everything that can be refused is refused here, before a byte is written.
std::vector<Output> plan_outputs(const ModelFile& model, const Recipe& recipe) {
  const std::vector<TensorPlan> plans = plan_tensors(recipe, model.metadata(), model.tensors());
  std::vector<Output> out;
  for (size_t i = 0; i < plans.size(); ++i) {
    const Tensor& tensor = model.tensors()[i];
    if (plans[i].dtype != BRIM_DTYPE_NONE) {
      model.require(tensor.name);
      const uint64_t row_bytes = brim_dtype_row_bytes(plans[i].dtype, tensor.shape.row());
      const uint64_t rows = tensor.shape.rows();
      if (row_bytes > UINT64_MAX / 2 / rows) {
        fail(BRIM_UNSUPPORTED, "{}: tensor '{}' of shape {} as {} has more bytes than a file can have", model.path(),
             printable(tensor.name), to_string(tensor.shape), brim_dtype_name(plans[i].dtype));
      }
      out.push_back({ggml_type(brim_dtype_name(plans[i].dtype)), rows * row_bytes, true, plans[i].fell_back});
      continue;
    }
    const GgmlType* type = ggml_type(tensor.type_name);
    if (!type) {
      fail(BRIM_UNSUPPORTED,
           "{}: tensor '{}' is stored as {}, whose size is unknown, so it cannot be copied; get the "
           "model in another quantisation",
           model.path(), printable(tensor.name), tensor.type_name);
    }
    out.push_back({type, tensor.bytes, false, plans[i].fell_back});
  }
  return out;
}

std::string make_header(const ModelFile& model, const Recipe& recipe, const std::vector<Output>& outputs,
                        GgufWriter& writer) {
  constexpr std::array<std::string_view, 5> kReplaced = {"general.file_type", "general.quantization_version",
                                                         "split.no", "split.count", "split.tensors.count"};
  const Gguf first = parse_gguf(model.file(0).bytes(), model.path());
  for (size_t i = 0; i < first.entries.size(); ++i) {
    const std::string_view key = first.metadata.keys()[i];
    if (std::find(kReplaced.begin(), kReplaced.end(), key) == kReplaced.end()) writer.add_entry(first.entries[i]);
  }
  writer.add_u32("general.quantization_version", 2);
  writer.add_u32("general.file_type", recipe.file_type);
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Tensor& tensor = model.tensors()[i];
    writer.add_tensor(tensor.name, tensor.shape, outputs[i].type->id, outputs[i].bytes);
  }
  return writer.header();
}

void check_cancel(const QuantizeOptions& options, const std::string& output) {
  if (options.cancel && options.cancel->load(std::memory_order_relaxed)) {
    fail(BRIM_CANCELLED, "quantising to '{}' was cancelled; nothing was written", output);
  }
}

// Runs work(begin, end) over [0, count), shared out to threads; the first exception is thrown here.
template <class Work>
void in_parallel(uint64_t count, uint32_t threads, Work&& work) {
  const auto parts = static_cast<uint32_t>(std::min<uint64_t>(threads, count));
  std::vector<std::exception_ptr> failures(parts);
  {
    std::vector<std::jthread> workers;
    const auto run = [&](uint32_t part) {
      try {
        work(count * part / parts, count * (part + 1) / parts);
      } catch (...) {
        failures[part] = std::current_exception();
      }
    };
    for (uint32_t part = 1; part < parts; ++part) {
      try {
        workers.emplace_back(run, part);
      } catch (const std::system_error&) {
        run(part);  // no further thread is to be had
      }
    }
    run(0);
  }
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

// Decodes and encodes blocks of `unit` elements, which divide every row: where rows end does not matter to either.
class Converter {
 public:
  Converter(const ModelFile& model, AtomicFile& file, const QuantizeOptions& options, const std::string& output)
      : model_(model), file_(file), options_(options), output_(output) {
    threads_ = options.threads ? options.threads : std::max(1u, std::thread::hardware_concurrency());
    threads_ = std::min(threads_, 256u);
  }

  void convert(const Tensor& tensor, const Output& to) {
    const uint32_t from_block = brim_dtype_block_elements(tensor.dtype);
    const uint64_t unit = std::max(from_block, to.type->block_elements);  // one divides the other: 1, 32, 256
    const uint64_t units = tensor.shape.elements() / unit;
    const uint64_t unit_in = brim_dtype_row_bytes(tensor.dtype, unit);
    const uint64_t unit_out = unit / to.type->block_elements * to.type->block_bytes;
    const uint64_t per_slab = kSlabElements / unit * threads_;
    const std::span<const std::byte> in = model_.data(tensor);
    for (uint64_t begin = 0; begin < units; begin += per_slab) {
      check_cancel(options_, output_);
      model_.check_unchanged();
      const uint64_t count = std::min(per_slab, units - begin);
      encoded_.resize(count * unit_out);
      // Less than some thousand elements a thread are not worth one.
      const auto threads = static_cast<uint32_t>(std::min<uint64_t>(threads_, count * unit / 16384 + 1));
      in_parallel(count, threads, [&](uint64_t first, uint64_t last) {
        constexpr uint64_t kChunk = 4096;
        std::vector<float> values(std::max(unit, kChunk / unit * unit));
        for (uint64_t i = first; i < last;) {
          const uint64_t n = std::min(values.size() / unit, last - i);
          decode(tensor.dtype, in.data() + (begin + i) * unit_in, values.data(), n * unit);
          check_finite(tensor, values.data(), n * unit, (begin + i) * unit);
          encode(to.type->dtype, values.data(), encoded_.data() + i * unit_out, n * unit);
          i += n;
        }
      });
      file_.write(encoded_);
    }
    model_.release(tensor);
  }

  void copy(const Tensor& tensor) {
    for (uint64_t done = 0; done < tensor.bytes;) {
      check_cancel(options_, output_);
      encoded_.resize(std::min(kCopyBytes, tensor.bytes - done));
      model_.file(tensor.file).file().read(tensor.offset + done, encoded_);
      file_.write(encoded_);
      done += encoded_.size();
    }
  }

 private:
  void check_finite(const Tensor& tensor, const float* values, uint64_t count, uint64_t first) const {
    for (uint64_t i = 0; i < count; ++i) {
      if (std::isfinite(values[i])) continue;
      fail(BRIM_DATA_CORRUPT,
           "{}: tensor '{}' has {} at element {}, expected finite numbers; the file is damaged or the "
           "model was trained badly, get it again",
           model_.path(), printable(tensor.name), values[i], first + i);
    }
  }

  const ModelFile& model_;
  AtomicFile& file_;
  const QuantizeOptions& options_;
  const std::string& output_;
  uint32_t threads_;
  std::vector<std::byte> encoded_;
};

void refuse_overwriting_input(const ModelFile& model, const std::string& output) {
  try {
    const File present(output);
    for (size_t i = 0; i < model.file_count(); ++i) {
      const os::FileState& input = model.file(i).file().state();
      if (present.state().device != input.device || present.state().node != input.node) continue;
      fail(BRIM_INVALID_ARGUMENT, "cannot quantise '{}' into itself; give another name for the output", output);
    }
  } catch (const Error& error) {
    // What is not there, or must not be read, is not the input. Whatever else keeps from knowing ends here: a folder, a
    // disk that fails.
    if (error.code != BRIM_NOT_FOUND && error.code != BRIM_PERMISSION_DENIED) throw;
  }
}

}  // namespace

QuantizeResult quantize_file(const std::string& input, const std::string& output, std::string_view recipe_name,
                             const QuantizeOptions& options) {
  const Recipe& recipe = find_recipe(recipe_name);
  const ModelFile model = ModelFile::open(input);
  refuse_overwriting_input(model, output);
  const std::vector<Output> outputs = plan_outputs(model, recipe);

  QuantizeProgress progress;
  progress.tensors = outputs.size();
  for (const Output& to : outputs) progress.bytes_total += to.bytes;
  GgufWriter writer(parse_gguf(model.file(0).bytes(), input).alignment);
  const std::string header = make_header(model, recipe, outputs, writer);

  AtomicFile file(output);
  file.write(std::as_bytes(std::span(header)));
  Converter converter(model, file, options, output);
  QuantizeResult result;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Tensor& tensor = model.tensors()[i];
    const Output& to = outputs[i];
    check_cancel(options, output);
    progress.tensor = i;
    progress.name = tensor.name;
    progress.from = tensor.type_name;
    progress.to = to.type->name;
    progress.fell_back = to.fell_back;
    if (options.progress) options.progress(progress);
    if (to.converts) {
      converter.convert(tensor, to);
    } else {
      converter.copy(tensor);
    }
    const std::vector<std::byte> padding(writer.padding(to.bytes));
    file.write(padding);
    progress.bytes_done += to.bytes;
    ++(to.converts ? result.quantized : result.copied);
    result.fell_back += to.fell_back;
  }
  file.commit();
  result.bytes_in = model.file_bytes();
  result.bytes_out = file.written();
  return result;
}

}  // namespace brim::model
