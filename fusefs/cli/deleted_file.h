// Files that were deleted, found by the name that they had. Several may have had it: the number of
// the change that deleted one tells them apart. What may not be read is not told of, as if it had
// never been.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "fusefs/cli/mount_place.h"
#include "fusefs/cli/query_client.h"

namespace linkspan::cli {

// Newest first, until `each` says false. `most_asked` as LogQuery has it.
Status deletions_of(const Place& place, QueryClient* client, size_t most_asked,
                    const std::function<bool(const Change&)>& each);
// The newest (0), or the one with that number. `not_found` with the mend.
Result<Change> find_deletion(const Place& place, uint64_t number, QueryClient* client);

// The newest version of a file that somebody who had it open wrote to after its last name was
// deleted. Nothing, too, where what it is may not be asked.
Result<std::optional<VersionInfo>> written_since(const std::string& route, const Change& deletion,
                                                 QueryClient* client);

// Whether the error says that nothing is kept of a node.
bool is_gone(const Error& error);
Error not_kept(const Place& place, const Change& deletion);
// "linkspan log --change 57 PATH"
std::string log_words(const Place& place, const Change& deletion);

}  // namespace linkspan::cli
