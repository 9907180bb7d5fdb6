#include "linkspan/fault_points.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace linkspan {
namespace {

constexpr const char* kVariable = "LINKSPAN_FAULT_POINTS";

#if LINKSPAN_FAULT_POINTS

constexpr std::array<std::string_view, 8> kNames = {
    "no-revocation",        "early-acknowledgement", "no-replay", "no-base",
    "no-name-invalidation", "ignore-lost-lease",     "no-theirs", "no-epoch"};

using Planted = std::array<bool, kNames.size()>;

void plant(std::string_view name, Planted* planted) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] != name) continue;
    (*planted)[i] = true;
    return;
  }
  std::fprintf(stderr, "%s: there is no fault '%.*s'; see proto/linkspan/fault_points.h\n",
               kVariable, static_cast<int>(name.size()), name.data());
  std::_Exit(2);
}

Planted read_environment() {
  Planted planted{};
  const char* text = std::getenv(kVariable);
  std::string_view left = text ? text : "";
  while (!left.empty()) {
    const size_t comma = left.find(',');
    plant(left.substr(0, comma), &planted);
    left.remove_prefix(comma == std::string_view::npos ? left.size() : comma + 1);
  }
  return planted;
}

const Planted& all_planted() {
  static const Planted kPlanted = read_environment();
  return kPlanted;
}

#endif

}  // namespace

#if LINKSPAN_FAULT_POINTS

bool planted(Fault fault) {
  return all_planted()[static_cast<size_t>(fault)];
}

std::string planted_faults() {
  std::string names;
  for (size_t i = 0; i < kNames.size(); ++i)
    if (all_planted()[i]) names += (names.empty() ? "" : ", ") + std::string(kNames[i]);
  if (names.empty()) return names;
  return std::string(kVariable) + " breaks the promises of this process on purpose: " + names;
}

#else

bool planted(Fault) {
  return false;
}

std::string planted_faults() {
  const char* text = std::getenv(kVariable);
  if (!text || !*text) return "";
  return std::string(kVariable) + " is ignored: this program was built without fault points";
}

#endif

}  // namespace linkspan
