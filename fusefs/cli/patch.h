// A unified diff of two texts, as diff -u writes it.
#pragma once

#include <string>

#include "linkspan/error.h"

namespace linkspan::cli {

// Empty: they are the same. With escape codes if `colours`. Of what is no text only that it
// differs.
Result<std::string> unified_diff(const std::string& old_name, const std::string& old_text,
                                 const std::string& new_name, const std::string& new_text,
                                 bool colours);

}  // namespace linkspan::cli
