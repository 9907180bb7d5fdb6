// The pattern language of routes (PolicyPattern in proto/linkspan/types.h). Pure functions.
#pragma once

#include <string_view>
#include <vector>

namespace linkspan::core {

// Paths are from the volume's root on, names may stand for those in it. Nothing matches an empty
// one.
bool matches(std::string_view glob, std::string_view path);

// Does the glob tell what lies below one directory from what lies below another? Where not, each
// name below both matches in both or in neither.
bool tells_apart(std::string_view glob, std::string_view directory, std::string_view other);

}  // namespace linkspan::core
