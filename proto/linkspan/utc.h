// A time as text for people and for logs.
#pragma once

#include <string>

#include "linkspan/types.h"

namespace linkspan {

// RFC 3339 in UTC, "2026-01-31T12:34:56.123Z". `digits` of the second's fraction, cut off: 0 (no
// point either) to 9.
std::string utc(Time time, int digits = 0);

}  // namespace linkspan
