def doctor(json:bool=False):
    print("x")
