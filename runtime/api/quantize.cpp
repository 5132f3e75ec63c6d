// brim_quantize.
#include <api/guard.hpp>
#include <api/handles.hpp>
#include <base/pace.hpp>
#include <model/quantize/quantize.hpp>

using namespace brim;
using namespace brim::api;

brim_status brim_quantize(brim_str in, brim_str out, brim_str type, const brim_quantize_options* given,
                          brim_error* error) {
  return guard(error, [&] {
    const brim_quantize_options o = given ? read_struct(given, "brim_quantize_options") : brim_quantize_options{};
    model::QuantizeOptions options;
    options.threads = o.threads;
    if (o.cancel) options.cancel = &o.cancel->fired;
    if (o.progress) {
      options.progress = [&o, pace = Pace()](const model::QuantizeProgress& p) mutable {
        if (pace.due(BRIM_STAGE_QUANTIZE, p.bytes_done, p.bytes_total)) {
          o.progress(o.user, BRIM_STAGE_QUANTIZE, p.bytes_done, p.bytes_total);
        }
      };
    }
    model::quantize_file(std::string(read_text(in, "in")), std::string(read_text(out, "out")), read_text(type, "type"),
                         options);
  });
}
