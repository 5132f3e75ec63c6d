// Looks at a shared library's file before the system's loader does. Needed, not only friendly: glibc maps the segments
// that the headers of an ELF file announce, and a file that was cut short (a full disk, a broken download) kills the
// process with SIGBUS. It reads headers only and runs nothing; Windows and macOS check such files themselves.
#pragma once

#include <string>

namespace brim::loader {

// Throws NOT_FOUND, or DATA_CORRUPT or INCOMPATIBLE saying what the file is instead of a whole library for this
// machine.
void check_image(const std::string& path);

}  // namespace brim::loader
