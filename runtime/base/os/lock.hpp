// Files that processes speak to each other by: small ones, rewritten whole, with a lock that lasts as long as its
// handle and ends with its process whatever happens. os/linux/ and os/windows/ implement it; failures as in file.hpp.
#pragma once

#include <base/os/file.hpp>

namespace brim::os {

// For reading, writing and locking; made where it is missing.
Handle open_or_create(const std::string& path);
// The file's lock against every other handle, of this process too. Waits for it.
void lock(Handle file, const std::string& path);
// False where another handle has it. Closing the handle gives it back.
bool try_lock(Handle file) noexcept;
// Puts these bytes in the place of the file's.
void rewrite(Handle file, const void* from, size_t bytes, const std::string& path);

}  // namespace brim::os
