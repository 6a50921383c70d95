// How long ago this process was started, before main and before libraries were loaded: what a user has waited for.
#pragma once

namespace titan::bench {

// Seconds since the process was made (a rank of `titan launch`: by the launcher), to 10 ms. Reads /proc.
double process_age_seconds();

}  // namespace titan::bench
