#include <topology/memory_class.hpp>

namespace brim::topology {

std::string_view class_name(Class c) {
  switch (c) {
    case Class::kUnknown:
      return "unknown";
    case Class::kCpu:
      return "cpu";
    case Class::kSoftware:
      return "software";
    case Class::kAtsUma:
      return "ats-uma";
    case Class::kWindowsUma:
      return "windows-uma";
    case Class::kTegraUma:
      return "tegra-uma";
    case Class::kUma:
      return "uma";
    case Class::kAtsNuma:
      return "ats-numa";
    case Class::kDiscreteHmm:
      return "discrete-hmm";
    case Class::kDiscreteManaged:
      return "discrete-managed";
    case Class::kDiscreteLimited:
      return "discrete-limited";
    case Class::kDiscrete:
      return "discrete";
  }
  return "unknown";
}

Classified classify(const Facts& f) {
  const bool cuda =
      f.pageable != Fact::kNotSaid || f.host_page_tables != Fact::kNotSaid || f.concurrent_managed != Fact::kNotSaid;
  if (f.software) return {Class::kSoftware, "computes on the host's processors"};
  if (f.type == BRIM_DEVICE_CPU) return {Class::kCpu, "the host's processors"};
  if (f.type == BRIM_DEVICE_INTEGRATED) {
    if (f.own_pool) return {Class::kUnknown, "integrated, and yet its memory is not the system's"};
    // Under Windows nobody has documented shared page tables; what a driver says of them there is not relied on.
    if (f.windows && cuda) return {Class::kWindowsUma, "integrated; CUDA under Windows"};
    if (f.host_page_tables == Fact::kYes) return {Class::kAtsUma, "integrated; uses the host's page tables"};
    if (cuda) return {Class::kTegraUma, "integrated; CUDA with page tables of its own"};
    return {Class::kUma, "integrated; computes from the system's memory"};
  }
  if (f.type != BRIM_DEVICE_DISCRETE && f.type != BRIM_DEVICE_ACCELERATOR)
    return {Class::kUnknown, "its driver does not say what kind of device it is"};
  if (!f.own_pool) return {Class::kUnknown, "a card, and yet its memory is the system's"};
  // As much memory as the system has, and no bus: perhaps the system's own shown once more.
  if (!f.own_link && f.device_bytes != 0 && f.host_bytes != 0 &&
      f.device_bytes / 20 >=
          (f.device_bytes > f.host_bytes ? f.device_bytes - f.host_bytes : f.host_bytes - f.device_bytes))
    return {Class::kUnknown, "a card as large as the system's memory, on no bus that is known"};
  if (f.host_page_tables == Fact::kYes) return {Class::kAtsNuma, "memory of its own; uses the host's page tables"};
  if (!cuda) return {Class::kDiscrete, "memory of its own"};
  if (f.windows || f.concurrent_managed != Fact::kYes)
    return {Class::kDiscreteLimited, "memory of its own; managed memory does not move while it runs"};
  if (f.pageable == Fact::kYes) return {Class::kDiscreteHmm, "memory of its own; pages of the host's move on demand"};
  return {Class::kDiscreteManaged, "memory of its own; managed pages move on demand"};
}

}  // namespace brim::topology
