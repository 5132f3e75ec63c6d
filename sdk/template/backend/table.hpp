#pragma once

#include <brim/backend.h>

namespace plain {

// The interface "brim.backend/1" of this plugin, constant.
const brim_backend& backend_table();

}  // namespace plain
