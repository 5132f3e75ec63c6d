// Where the code that asks lies on disk: the shared library that the runtime is part of, or the program where it is
// linked statically. os/linux/ and os/windows/ implement it.
#pragma once

#include <string>

namespace brim {

// Absolute, UTF-8, symbolic links resolved. Throws NOT_FOUND where the system does not say. [any]
std::string own_library_path();

}  // namespace brim
