// What `restore` and `resolve` say of the content they put in place. They write it to a temporary
// name and rename that, so the log has the temporary name: it tells where the content is from. Who
// writes the log decides what to believe of it: the router vouches for author, session and time,
// the origin is the program's own word.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

namespace linkspan::cli {

struct Origin {
  enum class Kind {
    version,   // an older version of the same file
    copy,      // a version of a file with another name
    deletion,  // what that change deleted
    conflict,  // what that conflict refused
    merged,    // what a person made of that conflict
  };
  Kind kind = Kind::version;
  uint64_t number = 0;
  uint64_t version = 0;  // deletion: of the file that was deleted; 0: its last
  bool operator==(const Origin&) const = default;
};

std::string restore_temporary(const Origin& origin, pid_t pid);  // a name, no path
// Of the name (or a path that ends in it) that restore_temporary() made; else nothing.
std::optional<Origin> origin_of(const std::string& temporary);
std::string origin_words(const Origin& origin);  // "version 5"

}  // namespace linkspan::cli
