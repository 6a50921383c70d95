// Guesses which word was meant by one that is not known.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace titan::config {

// Insertions, deletions and substitutions that turn `a` into `b` (Levenshtein 1966); a swap of neighbours counts one.
size_t edit_distance(std::string_view a, std::string_view b);

// The known key that is nearest to `key`. A key of that last name in another section counts as near: optimizer.lr for
// training.lr. "" if `known` is empty.
std::string_view nearest_key(std::string_view key, const std::vector<std::string_view>& known);

}  // namespace titan::config
