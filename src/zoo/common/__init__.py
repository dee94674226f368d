"""An import path of Analytics Zoo, from before it had Orca."""
